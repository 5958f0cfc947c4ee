//! Errors of steps that broke: what is wrong, the first tensor and row, and the checkpoint to go
//! back to.

use super::Fit;
use crate::{Gradients, Objective, diagnose, first_non_finite};
use anyhow::{Context, Error, Result, anyhow, bail};

impl<O: Objective> Fit<'_, O> {
    /// The error of a step that could not be computed: which step, why, and the checkpoint to go
    /// back to.
    pub(super) fn failed(&self, step: usize, why: Error) -> Error {
        let line = run::one_line(&why);
        match line.starts_with("step ") {
            true => why,
            false => anyhow!("step {step}: {line}; {}", self.run.last_good()),
        }
    }

    /// Refuses weights that the last update broke, which only the next loss or its gradient would
    /// show: a checkpoint must be one to continue from.
    pub(super) fn check_update(&mut self) -> Result<()> {
        let step = self.state.step;
        self.frozen
            .check(&self.objective.frozen())
            .with_context(|| format!("step {step}"))?;
        let row = self.data.get(0)?;
        let (loss, _) = self.objective.loss_sum(&[&row], 0)?;
        let mut grads = Gradients::zeros(&self.params);
        grads.add(&loss.backward()?)?;
        let loss = loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
        let bad = first_non_finite(&self.params)?.is_some() || grads.norm()?.1.is_some();
        if loss.is_finite() && !bad {
            return Ok(());
        }
        let what = format!("the update broke the weights (the loss is now {loss})");
        self.not_finite(step, &what, &grads, &[&row])
    }

    /// The error of a step whose numbers are not finite: what, the first such tensor and row, and
    /// the checkpoint to go back to. The batch is kept in the run directory.
    pub(super) fn not_finite<T>(
        &mut self,
        step: usize,
        what: &str,
        grads: &Gradients,
        batch: &[&O::Item],
    ) -> Result<T> {
        let tensor = diagnose(&self.params, grads)?;
        let row = self.first_bad_row(step, batch)?;
        let kept = self.run.last_good();
        let why = format!("{what}; {tensor}; {row}");
        let rows = serde_json::json!({ "step": step, "why": why, "rows": batch });
        let file = self.run.failed(step as u64, &rows)?;
        bail!(
            "step {step}: {why}; its batch is in {}; {kept}; lower the learning rate or look at the data",
            file.display()
        )
    }

    /// The first row of the batch, from 0, whose loss is not finite.
    fn first_bad_row(&mut self, step: usize, batch: &[&O::Item]) -> Result<String> {
        let draw = self.draw(step);
        for (row, item) in batch.iter().enumerate() {
            let (loss, _) = self.objective.loss_sum(&[*item], draw)?;
            let loss = loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
            if !loss.is_finite() {
                return Ok(format!("row {row} of the batch is the first bad one"));
            }
        }
        Ok("each row's loss alone is finite".into())
    }
}
