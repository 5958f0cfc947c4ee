//! A parameter that is either a constant or a variable, and the random numbers it begins with.

use candle_core::{Device, Result, Tensor, Var};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

#[derive(Clone, Debug)]
pub(crate) enum Parameter {
    Frozen(Tensor),
    Trainable(Var),
}

impl Parameter {
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Frozen(t) => t,
            Self::Trainable(v) => v.as_tensor(),
        }
    }

    /// A variable with its own storage.
    pub fn trainable(&self) -> Result<Self> {
        Ok(Self::Trainable(Var::from_tensor(
            &self.tensor().detach().copy()?,
        )?))
    }

    /// A view of the same storage that records nothing.
    pub fn frozen(&self) -> Self {
        Self::Frozen(self.tensor().detach())
    }

    pub fn var(&self) -> Option<&Var> {
        match self {
            Self::Frozen(_) => None,
            Self::Trainable(v) => Some(v),
        }
    }
}

/// Uniform in `[-bound, bound)`.
pub(crate) fn uniform(
    shape: (usize, usize),
    bound: f32,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.0 * shape.1)
        .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound)
        .collect();
    Tensor::from_vec(values, shape, device)
}

/// Normal with mean 0, by the Box–Muller transform.
pub(crate) fn normal(
    shape: &[usize],
    std: f64,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|_| {
            let u: f64 = 1.0 - rng.random::<f64>(); // (0, 1]
            let angle = 2.0 * std::f64::consts::PI * rng.random::<f64>();
            (std * (-2.0 * u.ln()).sqrt() * angle.cos()) as f32
        })
        .collect();
    Tensor::from_vec(values, shape, device)
}
