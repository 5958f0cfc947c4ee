//! AdamW (Loshchilov & Hutter 2019) by PyTorch's update rule, f32 state. On the CPU each pass is fused and in place;
//! elsewhere it is the same formula in candle operations.

use crate::{Gradients, OptimizerConfig, tensors};
use anyhow::Result;
use candle_core::{
    CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result as CResult, Tensor, Var, bail,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Decoupled weight decay Adam over named variables. Norms and biases are not decayed.
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

/// What one step needs beside the tensors.
#[derive(Clone, Copy)]
struct Update {
    /// Multiplies the gradient (clipping).
    grad_scale: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    /// `lr / (1 - beta1^t)`
    step_size: f64,
    /// `sqrt(1 - beta2^t)`
    correction2: f64,
    /// `1 - lr · weight_decay`
    keep: f64,
}

impl AdamW {
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

    /// One update at learning rate `lr` with gradients scaled by `scale` (clipping). A parameter without a gradient is
    /// left as it is.
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
            let update = Update {
                grad_scale: scale,
                beta1: self.beta1,
                beta2: self.beta2,
                eps: self.eps,
                step_size: lr / (1.0 - self.beta1.powf(t)),
                correction2: (1.0 - self.beta2.powf(t)).sqrt(),
                keep: 1.0 - lr * decay,
            };
            if var.device().is_cpu() && var.dtype() == DType::F32 {
                update.fused(var, moments, &grad.contiguous()?)?;
            } else {
                update.composed(var, moments, grad)?;
            }
        }
        Ok(())
    }

    pub fn params(&self) -> &[(String, Var)] {
        &self.params
    }

    /// safetensors: `<name>.exp_avg`, `<name>.exp_avg_sq`, `step`.
    pub fn save(&self, file: &Path) -> Result<()> {
        tensors::save(self.state()?, file)
    }

    /// Reads what [`save`](Self::save) wrote, for the same parameters.
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

impl Update {
    fn fused(&self, var: &Var, moments: &Moments, grad: &Tensor) -> CResult<()> {
        moments.m.inplace_op2(grad, &FirstMoment(*self))?;
        moments.v.inplace_op2(grad, &SecondMoment(*self))?;
        var.inplace_op3(&moments.m, &moments.v, &Apply(*self))
    }

    fn composed(&self, var: &Var, moments: &Moments, grad: &Tensor) -> CResult<()> {
        let grad = (grad * self.grad_scale)?;
        let (m, v) = (
            moments.m.as_detached_tensor(),
            moments.v.as_detached_tensor(),
        );
        let m = (&m + ((&grad - &m)? * (1.0 - self.beta1))?)?;
        let v = ((v * self.beta2)? + (grad.sqr()? * (1.0 - self.beta2))?)?;
        let denominator = ((v.sqrt()? / self.correction2)? + self.eps)?;
        let param = (var.as_detached_tensor().to_dtype(DType::F32)? * self.keep)?;
        let param = (param - ((&m / denominator)? * self.step_size)?)?;
        moments.m.set(&m)?;
        moments.v.set(&v)?;
        var.set(&param.to_dtype(var.dtype())?)
    }
}

struct FirstMoment(Update);
struct SecondMoment(Update);
struct Apply(Update);

impl InplaceOp2 for FirstMoment {
    fn name(&self) -> &'static str {
        "adamw-exp-avg"
    }

    fn cpu_fwd(&self, m: &mut CpuStorage, ml: &Layout, g: &CpuStorage, gl: &Layout) -> CResult<()> {
        let (scale, rate) = (self.0.grad_scale as f32, (1.0 - self.0.beta1) as f32);
        let each = |(m, g): (&mut f32, &f32)| *m += (g * scale - *m) * rate;
        values_mut(m, ml)?
            .par_iter_mut()
            .with_min_len(GRAIN)
            .zip(values(g, gl)?)
            .for_each(each);
        Ok(())
    }
}

impl InplaceOp2 for SecondMoment {
    fn name(&self) -> &'static str {
        "adamw-exp-avg-sq"
    }

    fn cpu_fwd(&self, v: &mut CpuStorage, vl: &Layout, g: &CpuStorage, gl: &Layout) -> CResult<()> {
        let (scale, beta, rate) = (
            self.0.grad_scale as f32,
            self.0.beta2 as f32,
            (1.0 - self.0.beta2) as f32,
        );
        let each = |(v, g): (&mut f32, &f32)| {
            let g = g * scale;
            *v = *v * beta + g * g * rate;
        };
        values_mut(v, vl)?
            .par_iter_mut()
            .with_min_len(GRAIN)
            .zip(values(g, gl)?)
            .for_each(each);
        Ok(())
    }
}

impl InplaceOp3 for Apply {
    fn name(&self) -> &'static str {
        "adamw-apply"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        pl: &Layout,
        m: &CpuStorage,
        ml: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> CResult<()> {
        let (keep, size) = (self.0.keep as f32, self.0.step_size as f32);
        let (correction, eps) = (self.0.correction2 as f32, self.0.eps as f32);
        let each = |((p, m), v): ((&mut f32, &f32), &f32)| {
            *p = *p * keep - size * (m / (v.sqrt() / correction + eps));
        };
        values_mut(p, pl)?
            .par_iter_mut()
            .with_min_len(GRAIN)
            .zip(values(m, ml)?)
            .zip(values(v, vl)?)
            .for_each(each);
        Ok(())
    }
}

/// Elements per parallel piece.
const GRAIN: usize = 32 * 1024;

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> CResult<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => bail!("AdamW needs contiguous f32 tensors"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> CResult<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => bail!("AdamW needs contiguous f32 tensors"),
    }
}
