//! Notes on how a fit went: the held-out loss diverged, ended above its start, or hardly moved.
//! Each is printed once in a run. Without held-out rows there are none.

use super::state::FitState;
use anyhow::Result;
use run::Run;

/// A held-out loss this many times the one at the start is no longer noise.
const DIVERGED: f64 = 1.5;
/// A run that lowers the loss by less than this share of it has not learnt.
const MOVED: f64 = 1e-3;

/// Notes that the latest held-out loss is far above the one before the first step.
pub(super) fn note_divergence(run: &mut Run, state: &FitState, has_held_out: bool) -> Result<()> {
    let (start, last) = (state.start_loss, state.last_loss);
    if !has_held_out || last <= DIVERGED * start {
        return Ok(());
    }
    let text = format!(
        "step {}: the held-out loss is {last:.4}, up from {start:.4} before the first step: \
         training diverges; lower train.optimizer.lr",
        state.step
    );
    run.note("diverged", &text)
}

/// At the end: notes a result that is worse than the start, or the same.
pub(super) fn note_result(run: &mut Run, state: &FitState, has_held_out: bool) -> Result<()> {
    run.forget_notes(&["worse", "unmoved"])?;
    let (start, last) = (state.start_loss, state.last_loss);
    let Some(best) = state.best.filter(|_| has_held_out) else {
        return Ok(());
    };
    // As shown, with four digits.
    let is_above = |a: f64, b: f64| (a * 1e4).round() > (b * 1e4).round();
    if is_above(best.loss, start) {
        let text = format!(
            "training made the model worse: the held-out loss was {start:.4} at the start and is \
             {:.4} at the best step, {}; lower train.optimizer.lr or look at the data",
            best.loss, best.step
        );
        return run.note("worse", &text);
    }
    if is_above(last, start) {
        let text = format!(
            "the held-out loss ended at {last:.4}, above the {start:.4} where it began; the saved \
             result is that of step {}, with {:.4}",
            best.step, best.loss
        );
        return run.note("worse", &text);
    }
    if start - best.loss < MOVED * start.abs() {
        let text = format!(
            "the held-out loss hardly moved, from {start:.4} to {:.4}: little was learnt; raise \
             train.optimizer.lr or train longer",
            best.loss
        );
        run.note("unmoved", &text)?;
    }
    Ok(())
}
