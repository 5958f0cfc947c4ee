//! AdamW, schedules, gradient accumulation and clipping, the fit loop. Does not know which stage it serves: what is
//! optimised comes in as an [`Objective`].

mod adamw;
mod config;
mod fault_injection;
mod fit;
mod gradients;
mod guard;
mod objective;
mod schedule;
mod tensors;

pub use adamw::AdamW;
pub use config::{FitConfig, OptimizerConfig};
pub use fault_injection::{inject_out_of_memory, injected_fault};
pub use fit::{Best, Summary, fit};
pub use gradients::{Gradients, clip_scale};
pub use guard::{Frozen, Tripwire, diagnose, first_non_finite};
pub use objective::{Evaluation, Objective};
pub use schedule::Schedule;
pub use tensors::{load_params, save_params};
