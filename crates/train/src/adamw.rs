//! AdamW (Loshchilov & Hutter 2019) over named variables, with f32 state. The update of one
//! variable is [`ops::adamw`].

use crate::{Gradients, OptimizerConfig, tensors};
use anyhow::Result;
use candle_core::{DType, Result as CResult, Tensor, Var};
use ops::AdamWStep;
use std::collections::BTreeMap;
use std::path::Path;

/// Adam with decoupled weight decay over named variables. Norms and biases are not decayed.
pub struct AdamW {
    params: Vec<(String, Var)>,
    moments: Vec<Moments>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    step: u64,
}

/// Running means of the gradient and of its square, f32, in the parameter's shape.
struct Moments {
    m: Var,
    v: Var,
}

impl AdamW {
    /// At step 0, with moments of 0. Learning rate and clipping are arguments of
    /// [`step`](Self::step).
    pub fn new(params: Vec<(String, Var)>, config: &OptimizerConfig) -> CResult<Self> {
        let zeros = |var: &Var| Var::zeros(var.shape(), DType::F32, var.device());
        let moments = params
            .iter()
            .map(|(_, var)| {
                Ok(Moments {
                    m: zeros(var)?,
                    v: zeros(var)?,
                })
            })
            .collect::<CResult<_>>()?;
        Ok(Self {
            params,
            moments,
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            weight_decay: config.weight_decay,
            step: 0,
        })
    }

    /// One update at learning rate `lr`, with gradients multiplied by `scale`
    /// ([`clip_scale`](crate::clip_scale)). A parameter without a gradient stays as it is.
    pub fn step(&mut self, grads: &Gradients, lr: f64, scale: f64) -> CResult<()> {
        self.step += 1;
        let t = self.step as f64;
        for ((name, var), moments) in self.params.iter().zip(&self.moments) {
            let Some(grad) = grads.get(name) else {
                continue;
            };
            let decay = if decayed(name) {
                self.weight_decay
            } else {
                0.0
            };
            let update = AdamWStep {
                grad_scale: scale,
                beta1: self.beta1,
                beta2: self.beta2,
                eps: self.eps,
                step_size: lr / (1.0 - self.beta1.powf(t)),
                correction2: (1.0 - self.beta2.powf(t)).sqrt(),
                keep: 1.0 - lr * decay,
            };
            let (m, v) = (moments.m.as_tensor(), moments.v.as_tensor());
            ops::adamw(var.as_tensor(), m, v, grad, &update)?;
        }
        Ok(())
    }

    /// The variables by name, in the order given to [`new`](Self::new).
    pub fn params(&self) -> &[(String, Var)] {
        &self.params
    }

    /// Writes the state as safetensors: `<name>.exp_avg`, `<name>.exp_avg_sq`, `step`.
    pub fn save(&self, file: &Path) -> Result<()> {
        tensors::save(self.state()?, file)
    }

    /// Reads what [`save`](Self::save) wrote. An error where names or shapes are not those of the
    /// parameters.
    pub fn load(&mut self, file: &Path) -> Result<()> {
        let found = tensors::load(&self.state()?, file)?;
        for ((name, _), moments) in self.params.iter().zip(&self.moments) {
            moments.m.set(&found[&format!("{name}.exp_avg")])?;
            moments.v.set(&found[&format!("{name}.exp_avg_sq")])?;
        }
        self.step = found["step"].to_vec1::<i64>()?[0] as u64;
        Ok(())
    }

    fn state(&self) -> CResult<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for ((name, _), moments) in self.params.iter().zip(&self.moments) {
            state.insert(format!("{name}.exp_avg"), moments.m.as_detached_tensor());
            state.insert(format!("{name}.exp_avg_sq"), moments.v.as_detached_tensor());
        }
        let step = Tensor::new(&[self.step as i64], &candle_core::Device::Cpu)?;
        state.insert("step".into(), step);
        Ok(state)
    }
}

/// Weight matrices are decayed; norms and biases are not.
fn decayed(name: &str) -> bool {
    !name.contains("norm") && !name.ends_with("bias")
}
