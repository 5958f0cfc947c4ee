//! One file per objective: tensors and plain records in, loss out. Knows neither models nor files.
//!
//! A method is a file that implements [`Algorithm`] and a line in `registry.rs`; docs/methods/README.md says how to add
//! one. What methods share are pure functions: [`estimators`], [`mrt::loss()`], [`reinforce::loss()`].
//!
//! Letters: R rows (responses), M response tokens of all rows, k samples of one prompt, n prompts.

mod a_lol;
mod algorithm;
mod clipped;
mod dpo;
pub mod esrl;
pub mod estimators;
mod experience;
mod gold;
pub mod grpo;
pub mod importance;
pub mod ma_ppo;
mod metrics;
pub mod mrt;
pub mod ppo;
mod registry;
pub mod reinforce;
mod response_reward;
mod rest;
pub mod rloo;
mod rwr;
mod settings;

pub use algorithm::{
    Algorithm, Estimate, Feed, Grow, Loss, Metric, Needs, PoolNeeds, Refresh, SamplingPlan, Scores,
    Totals, ValueFit,
};
pub use experience::{Experience, Pool, groups};
pub use metrics::{metric_definition, metric_names};
pub use registry::{Entry, build, names, registry, resolve};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
