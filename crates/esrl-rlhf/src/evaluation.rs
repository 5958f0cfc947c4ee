//! Evaluation of the policy on held-out prompts.

use crate::config::Config;
use crate::data::{self, Task};
use crate::learner::Learner;
use crate::sample::{self, DrawSettings, DrawStream, DrawWeights};
use crate::score;
use algorithms::Metrics;
use algorithms::SamplingPlan;
use anyhow::Result;
use policy::PolicyMeta;
use std::rc::Rc;

/// The first `train.eval_prompts` held-out prompts, encoded.
pub(crate) fn tasks_for_evaluation(
    held_out: &[::data::Prompt],
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Rc<Task>>> {
    let n = held_out.len().min(config.train.eval_prompts);
    data::evaluation_tasks(&held_out[..n], meta, config)
}

/// One sampled answer per held-out prompt: mean reward (where there is one), length, and the share
/// that ends.
pub(crate) fn evaluate(learner: &mut Learner, tasks: &[Rc<Task>]) -> Result<Metrics> {
    if tasks.is_empty() {
        return Ok(Metrics::new());
    }
    let one = SamplingPlan {
        n: 1,
        temperature: None,
    };
    // Step 0 each time: every evaluation draws the same random numbers, so that curves differ by
    // the policy alone.
    let settings = DrawSettings {
        stream: DrawStream::Evaluation,
        weights: DrawWeights::Training,
        keep_states: false,
        ..learner.draw_settings(0)
    };
    let (roles, plan) = (&mut learner.roles, vec![one; tasks.len()]);
    let policy = roles.policy.frozen();
    let rows = sample::draw(roles, Some(&policy), tasks, &plan, settings, &mut |_, _| {})?;
    let n = rows.len() as f64;
    let tokens: usize = rows.iter().map(|row| row.response().len()).sum();
    let finished = rows.iter().filter(|row| row.finished).count();
    let mut metrics = Metrics::from([
        ("eval/response_length".to_string(), tokens as f64 / n),
        ("eval/eos_rate".to_string(), finished as f64 / n),
    ]);
    if !roles.rewards.is_empty() {
        let readings = score::readings(roles, &rows)?;
        let scored = roles.rewards.plain_sum(&readings);
        let sum: f64 = scored.total.iter().map(|s| f64::from(*s)).sum();
        metrics.insert("eval/reward".into(), sum / n);
        if scored.means.len() > 1 {
            let named = |(name, mean)| (format!("eval/reward_{name}"), mean);
            metrics.extend(scored.means.into_iter().map(named));
        }
    }
    Ok(metrics)
}
