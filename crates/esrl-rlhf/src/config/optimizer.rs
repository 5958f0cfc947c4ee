//! `[train.policy]` and `[train.critic]`: the optimiser's keys over the defaults of RL, which are
//! not those of sft and reward-model. A table with one key keeps RL's defaults for the others.

use serde::Deserialize;
use train::{OptimizerConfig, Schedule};

/// The defaults of RL. Papers that train every weight have 1e-5; an adapter needs more to move.
pub(super) fn rl_defaults() -> OptimizerConfig {
    OptimizerConfig {
        lr: 1e-4,
        eps: 1e-5,
        ..OptimizerConfig::default()
    }
}

/// Reads an [`OptimizerConfig`] over [`rl_defaults`]. The compiler checks that the fields are the
/// same.
#[derive(Deserialize)]
#[serde(
    remote = "OptimizerConfig",
    default = "rl_defaults",
    deny_unknown_fields
)]
pub(super) struct RlOptimizer {
    lr: f64,
    schedule: Schedule,
    warmup_ratio: f64,
    weight_decay: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    max_grad_norm: f64,
}
