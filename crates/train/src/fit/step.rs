//! One optimiser step: forward and backward of each micro-batch, clipping, the update.

use super::Fit;
use super::state::FitStep;
use crate::{Gradients, Objective, clip_scale, injected_fault};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::time::Instant;

impl<O: Objective> Fit<'_, O> {
    /// Takes one step. An error before the optimiser's update leaves the parameters unchanged.
    pub(super) fn step(&mut self) -> Result<FitStep> {
        let mut timer = PhaseTimer::new();
        let (step, data) = (self.state.step + 1, self.data);
        let batch = self.loader.next_batch();
        let rows = batch.into_iter().map(|row| data.get(row));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let batch: Vec<&O::Item> = rows.iter().collect();
        let lens: Vec<usize> = batch.iter().map(|i| self.objective.tokens(i)).collect();
        let count = self.objective.count(&batch) as f64;
        ensure!(
            count > 0.0,
            "step {step}: no item of the batch has anything to learn from"
        );

        let (grads, loss_sum) = self.accumulate(&batch, &lens, count, &mut timer)?;
        let (grad_norm, bad) = grads.norm()?;
        if bad.is_some() {
            return self.not_finite(step, "a gradient is not finite", &grads, &batch);
        }
        if step == 1
            && let Some(name) = grads.missing().next()
        {
            bail!("step 1: no gradient reaches {name}; it would never be trained");
        }
        let lr = self
            .config
            .optimizer
            .lr_at(step - 1, self.total, self.run.rules());
        let scale = clip_scale(grad_norm, self.config.optimizer.max_grad_norm);
        self.optimizer.step(&grads, lr, scale)?;
        if let Some(tripwire) = &mut self.tripwire
            && tripwire
                .passed(&self.params, lr)
                .with_context(|| format!("step {step}"))?
        {
            self.tripwire = None;
        }

        timer.record("time/optimizer");
        let tokens: usize = lens.iter().sum();
        let window = &mut self.state.window;
        window.loss += loss_sum;
        window.count += count;
        window.pace.tokens += tokens as u64;
        window.pace.steps += 1;
        for (phase, secs) in timer.finish() {
            *window.pace.secs.entry(phase).or_default() += secs;
        }
        self.state.step = step;
        self.state.cursor = self.loader.cursor();
        Ok(FitStep {
            loss: loss_sum / count,
            lr,
            grad_norm,
            tokens,
        })
    }

    /// The draw of the first micro-batch of a step; the others count up in its last 16 bits.
    pub(super) fn draw(&self, step: usize) -> u64 {
        ((step as u64) << 16) ^ (self.mask_key & !0xffff)
    }

    /// The gradients of the batch's loss divided by `count`, and its summed loss, in micro-batches
    /// within the token budget.
    fn accumulate(
        &mut self,
        batch: &[&O::Item],
        lens: &[usize],
        count: f64,
        timer: &mut PhaseTimer,
    ) -> Result<(Gradients, f64)> {
        let step = self.state.step + 1;
        let mut grads = Gradients::zeros(&self.params);
        let mut loss_sum = 0.0;
        let ranges = ops::micro_batches(lens, self.config.micro_batch_tokens);
        for (i, range) in ranges.into_iter().enumerate() {
            let draw = self.draw(step) | i as u64;
            injected_fault(step as u64)?;
            let (loss, metrics) = self.objective.loss_sum(&batch[range], draw)?;
            let value = f64::from(loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
            timer.record("time/forward");
            let scaled = (loss / count)?;
            grads.add(&scaled.backward()?)?;
            timer.record("time/backward");
            if !value.is_finite() {
                return self.not_finite(step, &format!("the loss is {value}"), &grads, batch);
            }
            loss_sum += value;
            for (name, sum) in metrics {
                *self.state.window.metrics.entry(name).or_default() += sum;
            }
        }
        Ok((grads, loss_sum))
    }
}

/// Wall-clock seconds of a step by phase.
struct PhaseTimer {
    began: Instant,
    last: Instant,
    secs: BTreeMap<String, f64>,
}

impl PhaseTimer {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            last: now,
            secs: BTreeMap::new(),
        }
    }

    /// Adds the seconds since the last record to `phase`.
    fn record(&mut self, phase: &str) {
        *self.secs.entry(phase.to_string()).or_insert(0.0) += self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
    }

    /// The phases and `time/step`.
    fn finish(mut self) -> BTreeMap<String, f64> {
        let secs = self.began.elapsed().as_secs_f64();
        self.secs.insert("time/step".into(), secs);
        self.secs
    }
}
