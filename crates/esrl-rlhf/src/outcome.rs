//! Notes at the end of a run: the held-out reward is below its start, the policy has not moved, or
//! some steps changed nothing.

use crate::checkpoint::{BestEvaluation, RunTotals};
use anyhow::Result;
use run::Run;

/// A run of fewer steps may well be close to its reference still.
const ENOUGH_STEPS: u64 = 8;

/// Prints the notes to stderr and keeps them in run.json. `min_kl`: `watch.min_kl`.
pub(crate) fn note(
    run: &mut Run,
    totals: &RunTotals,
    best: Option<BestEvaluation>,
    n_steps: u64,
    min_kl: f64,
) -> Result<()> {
    run.forget_notes(&["idle_steps", "worse", "same"])?;
    let idle = totals.idle_steps;
    if idle > 0 {
        let text = format!(
            "{idle} of {n_steps} steps changed nothing: the learning rate or every gradient was 0"
        );
        run.note("idle_steps", &text)?;
    }
    let rows = run::read_metrics(run.dir())?;
    let kls = rows
        .iter()
        .filter_map(|row| row.metrics.get("objective/kl_exact"));
    if let Some(kl) = kls
        .last()
        .filter(|kl| n_steps >= ENOUGH_STEPS && **kl < min_kl)
    {
        let text = format!(
            "the policy is still the reference (KL {kl:.1e} nats per response): nothing was learnt; \
             raise train.policy.lr"
        );
        run.note("same", &text)?;
    }
    let rewards = || rows.iter().filter_map(|row| row.metrics.get("eval/reward"));
    let (Some(start), Some(end)) = (rewards().next(), rewards().next_back()) else {
        return Ok(());
    };
    if end < start {
        let kept = match best {
            Some(best) if best.reward > *start => format!(
                "best/ holds the policy of step {}, with {:.3}",
                best.step, best.reward
            ),
            _ => "no evaluation was better than the start".to_string(),
        };
        let text = format!(
            "the reward on held-out prompts ended at {end:.3}, below the {start:.3} where it began; \
             {kept}"
        );
        run.note("worse", &text)?;
    }
    Ok(())
}
