//! The numbers of one optimiser step.

/// The scalars of one AdamW step, which are the same for all parameters.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Multiplies the gradient (clipping).
    pub grad_scale: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// `lr / (1 - beta1^t)`
    pub step_size: f64,
    /// `sqrt(1 - beta2^t)`
    pub correction2: f64,
    /// `1 - lr · weight_decay`
    pub keep: f64,
}
