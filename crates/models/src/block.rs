//! One transformer block: norm, attention, norm, feed-forward, each added to what came in. How queries find their keys is given.
//!
//! Letters as in `model.rs`: N tokens, d hidden size, H heads, K key/value heads, D head width.

use crate::proj::Proj;
use candle_core::{Result, Tensor};
use ops::{SpinPool, step};
use std::sync::Arc;

/// Weights of one block.
#[derive(Clone)]
pub(crate) struct Layer {
    pub input_norm: Tensor, // [d]
    pub post_norm: Tensor,  // [d]
    pub proj: [Tensor; 7],  // [out, in], in the order of Proj::ALL
}

impl Layer {
    /// The same numbers, which record nothing even where they are variables.
    pub fn detach(&self) -> Self {
        Self {
            input_norm: self.input_norm.detach(),
            post_norm: self.post_norm.detach(),
            proj: self.proj.each_ref().map(Tensor::detach),
        }
    }
}

/// What the blocks of one forward share.
pub(crate) struct Pass {
    pub eps: f64,
    /// cos and sin
    pub rope: (Tensor, Tensor),
    /// One per token
    pub positions: Vec<u32>,
    /// What B·A is multiplied by
    pub scale: f64,
    /// LoRA dropout: the share that is zeroed, and the seed
    pub dropout: Option<(f64, u64)>,
}

/// One block in one forward: everything that it reads.
#[derive(Clone)]
pub(crate) struct Block {
    pub index: usize,
    pub weights: Layer,
    /// A and B of the projections that are adapted
    pub lora: [Option<(Tensor, Tensor)>; 7],
    pub pass: Arc<Pass>,
}

impl Block {
    /// `x` [N, d] -> [N, d]. `attend(q [N, H*D], k [N, K*D], v [N, K*D])` -> [N, H*D], with q and k as they came out of their layers.
    pub fn run(
        &self,
        x: &Tensor,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let eps = self.pass.eps;
        let h = ops::rms_norm(x, &self.weights.input_norm, eps)?;
        let q = self.linear(Proj::Q, &h)?;
        let k = self.linear(Proj::K, &h)?;
        let v = self.linear(Proj::V, &h)?;
        let x = self.added(x, Proj::O, &attend(&q, &k, &v)?)?;
        let h = ops::rms_norm(&x, &self.weights.post_norm, eps)?;
        let gate = self.linear(Proj::Gate, &h)?;
        let up = self.linear(Proj::Up, &h)?;
        self.added(&x, Proj::Down, &ops::swiglu(&gate, &up)?)
    }

    /// Queries or keys, turned to their positions.
    pub fn rotated(&self, x: &Tensor) -> Result<Tensor> {
        let (cos, sin) = &self.pass.rope;
        ops::rope(x, cos, sin, &self.pass.positions)
    }

    /// [`Block::run`] of one more token of each sequence on the CPU, without graph and dropout; q and k are rotated when `attend` gets them.
    pub fn step(
        &self,
        pool: &SpinPool,
        x: &Tensor,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let pass = &*self.pass;
        let layer = |proj: Proj| step::Layer {
            weight: &self.weights.proj[proj as usize],
            bias: None,
            lora: self.lora[proj as usize].as_ref().map(|(a, b)| (a, b)),
            scale: pass.scale,
        };
        let norm = |weight| step::Norm {
            weight,
            eps: pass.eps,
        };
        let rotation = step::Rotation {
            tables: (&pass.rope.0, &pass.rope.1),
            positions: &pass.positions,
        };
        let layers = [Proj::Q, Proj::K, Proj::V].map(layer);
        let [q, k, v] = pool.heads(x, norm(&self.weights.input_norm), layers, rotation)?;
        let x = pool.add(x, &attend(&q, &k, &v)?, layer(Proj::O))?;
        let post_norm = norm(&self.weights.post_norm);
        let h = pool.gated(&x, post_norm, layer(Proj::Gate), layer(Proj::Up))?;
        pool.add(&x, &h, layer(Proj::Down))
    }

    /// `residual` and what the projection makes of `x`.
    fn added(&self, residual: &Tensor, proj: Proj, x: &Tensor) -> Result<Tensor> {
        let w = &self.weights.proj[proj as usize];
        match self.lora[proj as usize].is_none() && !w.is_variable() {
            true => ops::added_linear(residual, x, w),
            false => residual + self.linear(proj, x)?,
        }
    }

    fn linear(&self, proj: Proj, x: &Tensor) -> Result<Tensor> {
        let w = &self.weights.proj[proj as usize];
        let Some((a, b)) = &self.lora[proj as usize] else {
            return match w.is_variable() {
                true => ops::linear(x, w),
                false => ops::frozen_linear(x, w),
            };
        };
        let x_lora = match self.pass.dropout {
            Some((p, seed)) => ops::dropout(x, p, seed, (self.index * 7 + proj as usize) as u32)?,
            None => x.clone(),
        };
        if w.is_variable() {
            let low_rank = x_lora.matmul(&a.t()?)?.matmul(&b.t()?)?;
            ops::linear(x, w)? + (low_rank * self.pass.scale)?
        } else {
            ops::lora_linear(x, &x_lora, w, a, b, self.pass.scale)
        }
    }

    /// What training changes, in a fixed order.
    pub fn variables(&self) -> Vec<Tensor> {
        let mut copy = self.clone();
        copy.variables_mut().map(|t| t.clone()).collect()
    }

    /// The same block with other tensors for its variables.
    pub fn with_variables(&self, values: &[Tensor]) -> Self {
        let mut copy = self.clone();
        copy.variables_mut()
            .zip(values)
            .for_each(|(variable, value)| *variable = value.clone());
        copy
    }

    fn variables_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let Layer {
            input_norm,
            post_norm,
            proj,
        } = &mut self.weights;
        let pairs = self.lora.iter_mut().flatten().flat_map(|(a, b)| [a, b]);
        let all = [input_norm, post_norm].into_iter().chain(proj).chain(pairs);
        all.filter(|tensor| tensor.is_variable())
    }
}
