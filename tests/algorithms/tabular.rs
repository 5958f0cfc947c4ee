//! A softmax policy over five answers, small enough to enumerate.

use candle_core::{Device, Tensor, Var};
use testkit::values;

/// Gradient with respect to the logits of a softmax policy.
pub fn tabular(logits: &[f64], loss: impl Fn(&Tensor) -> Tensor) -> Vec<f64> {
    let var = Var::new(logits, &Device::Cpu).unwrap();
    let logp = (var.as_tensor()
        - var
            .exp()
            .unwrap()
            .sum_all()
            .unwrap()
            .log()
            .unwrap()
            .broadcast_as(logits.len())
            .unwrap())
    .unwrap();
    let grads = loss(&logp).backward().unwrap();
    grads.get(&var).map_or(vec![0.0; logits.len()], values)
}

pub const LOGITS: [f64; 5] = [0.3, -1.2, 0.8, 0.1, -0.4];
pub const REWARDS: [f64; 5] = [1.0, -2.0, 0.5, 3.0, 0.25];

pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.iter().map(|l| l.exp() / sum).collect()
}

/// −∇ E[r], exactly.
pub fn exact() -> Vec<f64> {
    let p = softmax(&LOGITS);
    let expected: f64 = p.iter().zip(REWARDS).map(|(p, r)| p * r).sum();
    p.iter()
        .zip(REWARDS)
        .map(|(p, r)| -p * (r - expected))
        .collect()
}

pub fn constant(values: &[f64]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}
