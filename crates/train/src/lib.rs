//! AdamW, schedules, gradient accumulation and clipping, the fit loop. Does not know which stage it serves: what is
//! optimised comes in as an [`Objective`].

mod adamw;
mod config;
mod fit;
mod gradients;
mod guard;
mod schedule;
mod tensors;

pub use adamw::AdamW;
pub use config::{FitConfig, OptimizerConfig};
pub use fit::{Best, Evaluation, Objective, Summary, fit};
pub use gradients::{Gradients, clip_scale};
pub use guard::{Frozen, Tripwire, blame, first_non_finite};
pub use schedule::Schedule;
pub use tensors::{load_params, param_bytes, save_params};
