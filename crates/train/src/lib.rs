//! AdamW, schedules, gradient accumulation and clipping, the fit loop. Does not know which stage it serves.
//! (skeleton; split: adamw.rs, schedule.rs, gradients.rs, fit.rs)

use candle_core::{Result as CResult, Tensor, Var, backprop::GradStore};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    pub lr: f64,
    pub schedule: Schedule,
    /// fraction of the steps
    pub warmup_ratio: f64,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    Linear,
    Cosine,
}
impl Schedule {
    /// Multiplier of the peak learning rate at `step` (0-based) of `total`, after `warmup` linear steps. As transformers.
    pub fn factor(&self, _step: usize, _warmup: usize, _total: usize) -> f64 {
        todo!()
    }
}

/// Sums of gradients over micro-batches, by parameter order.
pub struct Gradients;
impl Gradients {
    pub fn zeros(_params: &[(String, Var)]) -> Self {
        todo!()
    }
    /// Adds what `backward()` gave; a parameter the loss did not reach adds nothing.
    pub fn add(&mut self, _grads: &GradStore) -> CResult<()> {
        todo!()
    }
    /// Global L2 norm over all parameters, and the first non-finite one by name.
    pub fn norm(&self) -> CResult<(f64, Option<String>)> {
        todo!()
    }
    pub fn get(&self, _name: &str) -> Option<&Tensor> {
        todo!()
    }
}

/// Decoupled weight decay Adam over named variables, f32 state, PyTorch's update rule. Norms and biases are not decayed.
pub struct AdamW;
impl AdamW {
    pub fn new(_params: Vec<(String, Var)>, _config: &OptimizerConfig) -> CResult<Self> {
        todo!()
    }
    /// One update at learning rate `lr` with gradients scaled by `scale` (clipping).
    pub fn step(&mut self, _grads: &Gradients, _lr: f64, _scale: f64) -> CResult<()> {
        todo!()
    }
    pub fn params(&self) -> &[(String, Var)] {
        todo!()
    }
    /// safetensors: `<name>.exp_avg`, `<name>.exp_avg_sq`, `step`
    pub fn save(&self, _file: &Path) -> anyhow::Result<()> {
        todo!()
    }
    pub fn load(&mut self, _file: &Path) -> anyhow::Result<()> {
        todo!()
    }
}
