//! The end of a run: notes where the held-out reward is below its start or its best, where the
//! policy has not moved, or where steps changed nothing; then the last lines.

use crate::checkpoint::{BestEvaluation, RunTotals};
use crate::config::ModelConfig;
use anyhow::Result;
use run::{Curve, MetricsRow, Run};
use std::path::Path;

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
    run.forget_notes(&["idle_steps", "worse", "best", "same"])?;
    let idle = totals.idle_steps;
    if idle > 0 {
        let text = format!(
            "{idle} of {n_steps} steps changed nothing: the learning rate or every gradient was 0"
        );
        run.note("idle_steps", &text)?;
    }
    let rows = run::read_metrics(run.dir())?;
    let kl = of(&rows, "objective/kl_exact").next_back();
    if let Some(kl) = kl.filter(|kl| n_steps >= ENOUGH_STEPS && *kl < min_kl) {
        let text = format!(
            "the policy is still the reference (KL {kl:.1e} nats per response): nothing was learnt; \
             raise train.policy.lr"
        );
        run.note("same", &text)?;
    }
    let mut rewards = of(&rows, "eval/reward");
    let Some(start) = rewards.next() else {
        return Ok(());
    };
    let end = rewards.next_back().unwrap_or(start);
    if run::is_above(start, end) {
        let kept = match best {
            Some(best) if best.reward > start => format!(
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
    } else if let Some(best) = best.filter(|best| run::is_above(best.reward, end)) {
        let text = format!(
            "adapter/ holds the policy of the last step, with a held-out reward of {end:.3}; best/ \
             holds that of step {}, with {:.3}",
            best.step, best.reward
        );
        run.note("best", &text)?;
    }
    Ok(())
}

/// Says what came out of the run in `dir`, and the next command. It takes the best policy where
/// that is above the start and the last one is worse. `model`: where the policy started.
pub(crate) fn say(dir: &Path, model: &ModelConfig, best: Option<BestEvaluation>) {
    // What cannot be read was reported.
    let rows = run::read_metrics(dir).unwrap_or_default();
    let kl = match of(&rows, "objective/kl_exact").next() {
        Some(_) => Curve::new("exact KL", "objective/kl_exact"),
        None => Curve::new("KL by k1 of the drawn tokens", "objective/kl"),
    };
    let curves = [
        Curve::new("held-out reward", "eval/reward"),
        Curve::new("reward", "objective/scores"),
        kl,
    ];
    let rewards: Vec<f64> = of(&rows, "eval/reward").collect();
    if !rewards.is_empty() && rewards.iter().all(|reward| *reward == 0.0) {
        run::say!(
            "every held-out reward was 0: either no answer earns any, or [[rewards]] finds nothing \
             to reward; look at samples/"
        );
    }
    let better = match (best, rewards.as_slice()) {
        (Some(best), [first, .., end]) => best.reward > *first && run::is_above(best.reward, *end),
        _ => false,
    };
    let policy = match better {
        true => dir.join("best"),
        false => dir.to_path_buf(),
    };
    let command = run::command("compare");
    let base = model.base.as_ref();
    let base = base.map_or(String::new(), |base| format!(" --base {base}"));
    let next = format!(
        "{command} --runs {} {}{base}",
        model.policy,
        policy.display()
    );
    run::say_outcome(dir, &curves, "adapter", &next);
}

/// The values of a metric, in order.
fn of<'a>(
    rows: &'a [MetricsRow],
    metric: &'a str,
) -> impl DoubleEndedIterator<Item = f64> + use<'a> {
    rows.iter()
        .filter_map(|row| row.metrics.get(metric))
        .copied()
}
