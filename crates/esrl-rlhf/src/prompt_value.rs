//! V_ref(x): the expected score of the reference on a prompt, from a small head on the reference's
//! frozen hidden states (A-LoL, Baheti et al. 2024). The head is attention with one learnt query,
//! then a linear layer, then the logistic function. With one query its matrices collapse to two
//! vectors per head: one that attends and one that reads.

use algorithms::ValueFit;
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor, Var};
use models::{CausalLm, Lora};
use ops::Ragged;
use rand::Rng;
use rand::seq::SliceRandom;
use train::{AdamW, Gradients, OptimizerConfig};

const HEADS: usize = 8;
/// Prompts per update.
const BATCH: usize = 16;
/// Tokens of one forward of the reference.
pub(crate) const MAX_TOKENS: usize = 4096;

/// The trained head.
pub(crate) struct ValueHead {
    /// `[d, heads]` each head's key vector
    attend: Var,
    /// `[heads, d]` each head's output vector
    read: Var,
    /// `[1]`
    bias: Var,
}

/// Fits the head to one score (0..1) per prompt by squared error and keeps the best epoch.
/// Deterministic.
pub(crate) fn fit(
    model: &CausalLm,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    targets: &[f32],
    fit: &ValueFit,
    seed: u64,
) -> Result<ValueHead> {
    let refs: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let states = hidden_states(model, lora, &refs)?;
    let head = ValueHead::new(model.config.hidden_size, seed, model.device())?;
    let params = head.params();
    let config = OptimizerConfig {
        lr: fit.lr,
        ..OptimizerConfig::default()
    };
    let mut optimizer = AdamW::new(params.clone(), &config)?;
    let mut best: Option<(f64, Vec<Tensor>)> = None;
    for epoch in 0..fit.epochs {
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.shuffle(&mut run::stream(seed, "value batches", epoch as u64, 0));
        for batch in order.chunks(BATCH) {
            let mut losses = Vec::with_capacity(batch.len());
            for at in batch {
                let value = head.value(&states[*at])?;
                losses.push((value - f64::from(targets[*at]))?.sqr()?);
            }
            let loss = (Tensor::cat(&losses, 0)?.sum_all()? / batch.len() as f64)?;
            let mut grads = Gradients::zeros(&params);
            grads.add(&loss.backward()?)?;
            let (norm, _) = grads.norm()?;
            let scale = train::clip_scale(norm, config.max_grad_norm);
            optimizer.step(&grads, fit.lr, scale)?;
        }
        let mse = head.mse(&states, targets)?;
        ensure!(
            mse.is_finite(),
            "the head of V_ref has an error of {mse} after pass {}; lower algorithm.value_lr",
            epoch + 1
        );
        if best.as_ref().is_none_or(|(least, _)| mse < *least) {
            let numbers = params.iter().map(|(_, var)| var.as_tensor().copy());
            best = Some((mse, numbers.collect::<candle_core::Result<_>>()?));
        }
    }
    if let Some((mse, numbers)) = best {
        for ((_, var), numbers) in params.iter().zip(&numbers) {
            var.set(numbers)?;
        }
        let n = targets.len() as f64;
        let mean = targets.iter().map(|t| f64::from(*t)).sum::<f64>() / n;
        let variance = targets
            .iter()
            .map(|t| (f64::from(*t) - mean).powi(2))
            .sum::<f64>()
            / n;
        run::say!(
            "V_ref: mean squared error {mse:.4} on {} answers of the reference; their scores have variance {variance:.4}",
            targets.len()
        );
    }
    Ok(head)
}

/// `[T, d]` hidden states of each prompt, f32, without graph.
fn hidden_states(
    model: &CausalLm,
    lora: Option<&Lora>,
    prompts: &[&[u32]],
) -> candle_core::Result<Vec<Tensor>> {
    let lens: Vec<usize> = prompts.iter().map(|p| p.len()).collect();
    let mut states = Vec::with_capacity(prompts.len());
    for range in ops::micro_batches(&lens, MAX_TOKENS) {
        let layout = Ragged::from_lens(&lens[range.clone()]);
        let hidden = model.hidden(&prompts[range].concat(), &layout, lora, None)?;
        let hidden = hidden.detach().to_dtype(candle_core::DType::F32)?;
        for rows in layout.ranges() {
            states.push(hidden.narrow(0, rows.start, rows.len())?);
        }
    }
    Ok(states)
}

impl ValueHead {
    /// Random key vectors and output vectors of 0: the value is 0.5 for every prompt.
    fn new(d: usize, seed: u64, device: &Device) -> Result<Self> {
        let mut rng = run::stream(seed, "value head", 0, 0);
        let attend: Vec<f32> = (0..d * HEADS)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        Ok(Self {
            attend: Var::from_vec(attend, (d, HEADS), device)?,
            read: Var::zeros((HEADS, d), candle_core::DType::F32, device)?,
            bias: Var::zeros(1, candle_core::DType::F32, device)?,
        })
    }

    fn params(&self) -> Vec<(String, Var)> {
        [
            ("attend", &self.attend),
            ("read", &self.read),
            ("bias", &self.bias),
        ]
        .map(|(name, var)| (name.to_string(), var.clone()))
        .into()
    }

    /// `[1]`, 0..1, of one prompt's hidden states `[T, d]`.
    fn value(&self, states: &Tensor) -> candle_core::Result<Tensor> {
        let d = states.dim(1)? as f64;
        let logits = (states.matmul(self.attend.as_tensor())? / d.sqrt())?; // [T, heads]
        let top = logits.max_keepdim(0)?.detach();
        let e = logits.broadcast_sub(&top)?.exp()?;
        let attention = e.broadcast_div(&e.sum_keepdim(0)?)?;
        let pooled = attention.t()?.matmul(states)?; // [heads, d]
        let read = (pooled * self.read.as_tensor())?.sum_all()?.reshape(1)?;
        let z = ((read / d.sqrt())? + self.bias.as_tensor())?;
        // The logistic function by tanh, whose gradient is finite everywhere.
        ((z * 0.5)?.tanh()? + 1.0)? * 0.5
    }

    fn mse(&self, states: &[Tensor], targets: &[f32]) -> Result<f64> {
        let mut sum = 0.0;
        for (states, target) in states.iter().zip(targets) {
            let value = self.value(states)?.detach().to_vec1::<f32>()?[0];
            sum += f64::from(value - target).powi(2);
        }
        Ok(sum / targets.len().max(1) as f64)
    }

    /// V_ref of each prompt, without graph.
    pub fn values(
        &self,
        model: &CausalLm,
        lora: Option<&Lora>,
        prompts: &[&[u32]],
    ) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(prompts.len());
        for part in prompts.chunks(64) {
            for states in hidden_states(model, lora, part)? {
                values.push(self.value(&states)?.detach().to_vec1::<f32>()?[0]);
            }
        }
        Ok(values)
    }
}
