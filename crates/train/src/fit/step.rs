//! One optimiser step: forward and backward of each micro-batch, clipping, the update.

use super::Fit;
use crate::{Gradients, Objective, clip_scale, injected_fault};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::time::Instant;

pub(super) struct StepReport {
    pub loss: f64,
    pub lr: f64,
    pub grad_norm: f64,
    pub tokens: usize,
}

impl<O: Objective> Fit<'_, O> {
    /// Errors leave the parameters as the last step left them.
    pub(super) fn step(&mut self) -> Result<StepReport> {
        let began = Instant::now();
        let (step, data) = (self.state.step + 1, self.data);
        let batch: Vec<&O::Item> = self
            .loader
            .next_batch()
            .into_iter()
            .map(|i| &data[i])
            .collect();
        let lens: Vec<usize> = batch.iter().map(|i| self.objective.tokens(i)).collect();
        let count = self.objective.count(&batch) as f64;
        ensure!(
            count > 0.0,
            "step {step}: no item of the batch has anything to learn from"
        );

        let mut time = BTreeMap::new();
        let mut last = began;
        let mut lap = |phase: &str| {
            *time.entry(phase.to_string()).or_insert(0.0) += last.elapsed().as_secs_f64();
            last = Instant::now();
        };
        let mut grads = Gradients::zeros(&self.params);
        let mut loss_sum = 0.0;
        let ranges = ops::micro_batches(&lens, self.config.micro_batch_tokens);
        for (i, range) in ranges.into_iter().enumerate() {
            let draw = (step as u64) << 16 | i as u64;
            injected_fault(step as u64)?;
            let (loss, metrics) = self.objective.loss_sum(&batch[range], draw)?;
            let value = f64::from(loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
            lap("time/forward");
            let scaled = (loss / count)?;
            grads.add(&scaled.backward()?)?;
            lap("time/backward");
            if !value.is_finite() {
                return self.not_finite(step, &format!("the loss is {value}"), &grads, &batch);
            }
            loss_sum += value;
            for (name, sum) in metrics {
                *self.state.window.metrics.entry(name).or_default() += sum;
            }
        }

        let (grad_norm, bad) = grads.norm()?;
        if bad.is_some() {
            return self.not_finite(step, "a gradient is not finite", &grads, &batch);
        }
        if step == 1
            && let Some(name) = grads.missing().next()
        {
            bail!("step 1: no gradient reaches {name}; it would never be trained");
        }
        let lr = self.config.optimizer.lr_at(step - 1, self.total);
        let scale = clip_scale(grad_norm, self.config.optimizer.max_grad_norm);
        self.optimizer.step(&grads, lr, scale)?;
        if let Some(tripwire) = &mut self.tripwire
            && tripwire
                .passed(&self.params, lr)
                .with_context(|| format!("step {step}"))?
        {
            self.tripwire = None;
        }

        lap("time/optimizer");
        time.insert("time/step".into(), began.elapsed().as_secs_f64());
        let tokens: usize = lens.iter().sum();
        let window = &mut self.state.window;
        window.loss += loss_sum;
        window.count += count;
        window.pace.tokens += tokens as u64;
        window.pace.steps += 1;
        for (phase, secs) in time {
            *window.pace.secs.entry(phase).or_default() += secs;
        }
        self.state.step = step;
        self.state.cursor = self.loader.cursor();
        Ok(StepReport {
            loss: loss_sum / count,
            lr,
            grad_norm,
            tokens,
        })
    }
}
