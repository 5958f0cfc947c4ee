//! RL fine-tuning methods: plain records and tensors in, a loss out.
//!
//! Knows neither models nor files nor text. A method implements [`Algorithm`] and declares itself
//! by [`Method`]; it is a folder here, a line in `registry.rs`, a config file and a page of the
//! docs (docs/methods/adding-a-method.md shows the steps). Methods share pure functions:
//! [`estimators`], [`mrt::loss()`], [`reinforce::loss()`].
//!
//! Letters in shapes: R rows (responses), M response tokens of all rows, k samples of one prompt,
//! n prompts.

mod algorithm;
mod checks;
mod clipped;
pub mod columns;
mod error;
pub mod estimators;
mod experience;
pub mod importance;
mod loss;
mod method;
mod metrics;
mod pool_columns;
mod registry;
mod requirements;
mod response_reward;
mod settings;
mod shared_config;
mod shared_metrics;
mod weighted_nll;

// the methods
mod a_lol;
mod dpo;
pub mod esrl;
mod gold;
pub mod grpo;
pub mod ma_ppo;
pub mod mrt;
pub mod ppo;
pub mod reinforce;
mod rest;
pub mod rloo;
mod rwr;

pub use algorithm::{Algorithm, Estimate, SamplingPlan};
pub use error::{Error, Result};
pub use experience::{Experience, groups};
pub use loss::{Loss, Scores, Totals};
pub use method::{Method, Name};
pub use metrics::{Definitions, Metrics, rollout_metrics};
pub use pool_columns::PoolColumns;
pub use registry::{
    Entry, build, metric_definition, metric_names, names, registry, resolve, unused,
};
pub use requirements::{
    DataSource, Grow, PoolRequirements, Refresh, Requirements, TextMetric, ValueFit,
};
pub use settings::{MethodConfig, Unused};
pub use shared_config::{EosPenalty, ScoreShaping, Updates};
