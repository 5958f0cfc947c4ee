//! Settings of the optimiser and of the fit loop.

use crate::Schedule;
use anyhow::{Result, ensure};
use run::Rules;
use serde::{Deserialize, Serialize};

/// Settings of [`AdamW`](crate::AdamW), its schedule and clipping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate
    pub lr: f64,
    pub schedule: Schedule,
    /// Fraction of the steps over which the learning rate rises to the peak
    pub warmup_ratio: f64,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Largest global L2 norm of the gradients; 0 = no clipping
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 2e-4,
            schedule: Schedule::Cosine,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_grad_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// Learning rate at `step` (0-based) of `total`. The warm-up is n = `ceil(warmup_ratio ·
    /// total)` steps. Its first step has 1 / (n + 1) of the peak, unless the run began under
    /// earlier `rules`: as transformers', it then has 0 and moves nothing.
    pub fn lr_at(&self, step: usize, total: usize, rules: Rules) -> f64 {
        let warmup = (self.warmup_ratio * total as f64).ceil() as usize;
        let factor = match step < warmup && rules >= Rules::WarmupMoves {
            true => (step + 1) as f64 / (warmup + 1) as f64,
            false => self.schedule.factor(step, warmup, total),
        };
        self.lr * factor
    }

    /// An error for the first value that cannot work. `section`: where the config has this part,
    /// e.g. `train.optimizer`.
    pub fn check(&self, section: &str) -> Result<()> {
        let finite_from_zero = |name: &str, value: f64| {
            ensure!(
                value.is_finite() && value >= 0.0,
                "{section}.{name} = {value} must be a number of at least 0"
            );
            Ok(())
        };
        ensure!(
            self.lr.is_finite() && self.lr > 0.0,
            "{section}.lr = {} must be above 0",
            self.lr
        );
        for (name, value) in [
            ("warmup_ratio", self.warmup_ratio),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
        ] {
            ensure!(
                (0.0..1.0).contains(&value),
                "{section}.{name} = {value} is not in [0, 1)"
            );
        }
        finite_from_zero("weight_decay", self.weight_decay)?;
        finite_from_zero("max_grad_norm", self.max_grad_norm)?;
        ensure!(
            self.eps.is_finite() && self.eps > 0.0,
            "{section}.eps = {} must be above 0",
            self.eps
        );
        Ok(())
    }
}

/// Settings of [`fit`](crate::fit). A cadence of 0 means only at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Passes over the data; may be a fraction
    pub epochs: f64,
    /// Stop after this many steps where `epochs` gives more; the schedule ends there too
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Items per optimiser step
    pub batch_size: usize,
    /// Tokens of one forward with graph; a step takes as many forwards as its items need. Changes
    /// memory, not results
    pub micro_batch_tokens: usize,
    /// Largest memory of the process, GB (10⁹ bytes): as many layers are checkpointed as needed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Checkpoint exactly this many layers
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_blocks: Option<usize>,
    pub optimizer: OptimizerConfig,
    pub log_every: usize,
    pub eval_every: usize,
    pub sample_every: usize,
    pub save_every: usize,
    /// Older checkpoints are deleted
    pub keep_checkpoints: usize,
    /// Older ones are also deleted while all together take more MB than this
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints_mb: Option<u64>,
    pub seed: u64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            max_steps: None,
            batch_size: 16,
            micro_batch_tokens: 4096,
            memory_gb: None,
            checkpoint_blocks: None,
            optimizer: OptimizerConfig::default(),
            log_every: 10,
            eval_every: 100,
            sample_every: 100,
            save_every: 100,
            keep_checkpoints: 2,
            keep_checkpoints_mb: None,
            seed: 1,
        }
    }
}

impl FitConfig {
    /// An error for the first value that cannot work.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.epochs.is_finite() && self.epochs > 0.0,
            "train.epochs = {} must be above 0",
            self.epochs
        );
        ensure!(
            self.max_steps != Some(0),
            "train.max_steps = 0: nothing would be trained"
        );
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("keep_checkpoints", self.keep_checkpoints),
        ] {
            ensure!(value > 0, "train.{name} = 0; it must be at least 1");
        }
        self.optimizer.check("train.optimizer")
    }

    /// Which checkpoints are kept.
    pub fn keep(&self) -> run::RetentionPolicy {
        run::RetentionPolicy {
            n: self.keep_checkpoints,
            mb: self.keep_checkpoints_mb,
        }
    }

    /// One line where `max_steps` is more than `epochs` gives, so that the run is shorter than it
    /// says.
    pub fn capped_by_epochs(&self, batches_per_epoch: usize) -> Option<String> {
        let (steps, max) = (self.total_steps(batches_per_epoch), self.max_steps?);
        (steps < max).then(|| {
            format!(
                "train.max_steps = {max} is more than the {steps} steps of train.epochs = {}: the \
                 run takes {steps}; raise train.epochs for more",
                self.epochs
            )
        })
    }

    /// Optimiser steps of the whole fit, at `batches_per_epoch` batches an epoch.
    pub fn total_steps(&self, batches_per_epoch: usize) -> usize {
        let steps = ((self.epochs * batches_per_epoch as f64).ceil() as usize).max(1);
        self.max_steps.map_or(steps, |max| steps.min(max))
    }
}
