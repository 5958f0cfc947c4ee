//! Optimisation: AdamW, learning-rate schedules, gradient accumulation and clipping, and the fit
//! loop of the supervised stages. Does not know which stage it serves: what is optimised comes in
//! as an [`Objective`].
//!
//! One step of AdamW on the gradient of a loss:
//! ```
//! use candle_core::{Device, Var};
//! use train::{AdamW, Gradients, OptimizerConfig, clip_scale};
//!
//! let w = Var::new(&[1.0f32, -2.0], &Device::Cpu)?;
//! let params = vec![("w".to_string(), w.clone())];
//! let config = OptimizerConfig { lr: 0.1, ..OptimizerConfig::default() };
//! let mut optimizer = AdamW::new(params.clone(), &config)?;
//!
//! let loss = w.sqr()?.sum_all()?;
//! let mut grads = Gradients::zeros(&params);
//! grads.add(&loss.backward()?)?;
//! let (norm, not_finite) = grads.norm()?;
//! assert_eq!(not_finite, None);
//! optimizer.step(&grads, config.lr, clip_scale(norm, config.max_grad_norm))?;
//!
//! // The first step moves each number by the learning rate, against the sign of its gradient.
//! let moved = w.to_vec1::<f32>()?;
//! assert!((moved[0] - 0.9).abs() < 1e-5 && (moved[1] + 1.9).abs() < 1e-5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adamw;
mod config;
mod fault_injection;
mod fit;
mod gradients;
mod guard;
mod length;
mod objective;
mod schedule;
mod tensors;

pub use adamw::AdamW;
pub use config::{FitConfig, OptimizerConfig};
#[cfg(feature = "fault-injection")]
pub use fault_injection::inject_out_of_memory;
pub use fault_injection::injected_fault;
pub use fit::{Best, Summary, check_max_steps, fit};
pub use gradients::{Gradients, clip_scale};
pub use guard::{Frozen, Tripwire, diagnose, first_non_finite};
pub use length::NewLength;
pub use objective::{Evaluation, Objective, Rows};
pub use schedule::Schedule;
pub use tensors::{load_params, save_params};
