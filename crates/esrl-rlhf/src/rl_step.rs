//! One RL step, from prompts to new weights: sample → score → read → prepare → update. Each word is
//! a file beside this one.

use crate::failed;
use crate::learner::Learner;
use crate::row::Row;
use crate::row_source::{RowSource, next_pairs, next_tasks};
use crate::step_rows::StepRows;
use crate::step_timer::StepTimer;
use crate::update::UpdateBatch;
use crate::{prepare, read, sample, score, update};
use algorithms::Metrics;
use algorithms::{DataSource, Experience};
use anyhow::Result;
use run::Run;

/// What a step leaves to be logged and shown.
pub(crate) struct StepReport {
    pub metrics: Metrics,
    pub rows: Vec<Row>,
    /// What was known of the rows before the step's updates
    pub exp: Experience,
    /// Health watches that begin to warn
    pub warnings: Vec<String>,
    /// Response tokens sampled, greedy estimates included
    pub tokens_drawn: usize,
    /// Responses sampled, greedy estimates included
    pub samples_drawn: usize,
}

/// Takes step `step` (0-based). If the update fails, the step's rows are saved in `failed/`; an
/// earlier error saves nothing. Minibatches before the one that failed have changed the weights.
pub(crate) fn rl_step(learner: &mut Learner, step: u64, run: &Run) -> Result<StepReport> {
    let mut timer = StepTimer::new();
    let needs = learner.needs.clone();

    // 1. Sample: new responses to the next prompts. Methods on stored data take rows of a pool, or
    //    pairs, instead.
    let settings = learner.draw_settings(step);
    let (algorithm, roles) = (learner.algorithm.as_mut(), &mut learner.roles);
    let mut step_rows = match &mut learner.source {
        RowSource::Prompts(prompts) => {
            let (tasks, new_epoch) = next_tasks(prompts, &roles.encoder)?;
            StepRows {
                new_epoch,
                ..sample::rollouts(roles, algorithm, &tasks, settings, &mut timer)?
            }
        }
        RowSource::Pool(pool) => pool.next(step, &*algorithm, roles, settings, run)?,
        RowSource::Pairs(pairs) => next_pairs(pairs, &roles.encoder)?,
    };

    // 2. Score: the reward of each response. Stored rows bring theirs.
    match needs.source {
        DataSource::Rollouts => {
            score::rollouts(roles, &needs, &mut step_rows)?;
            timer.record("time/reward");
        }
        DataSource::Pool(_) | DataSource::Pairs => timer.record("time/pool"),
    }
    let StepRows {
        mut rows,
        mut exp,
        new_epoch,
        cost,
        metrics: of_rows,
    } = step_rows;

    // Replace the frozen copies of the policy that are due for a refresh.
    learner.roles.refresh(&needs, step, new_epoch)?;

    // 3. Read: log-probs of policy and reference, values of the critic, without a graph.
    let temperature = learner.scoring_temperature(&exp);
    read::columns(learner, &mut rows, &mut exp, &temperature)?;
    timer.record("time/read");

    // 4. Prepare: baselines and advantages, by the algorithm.
    let (exp, mut metrics) = prepare::experience(learner, &rows, exp)?;
    metrics.extend(of_rows);

    // 5. Update: teacher-forced forwards with graph, the algorithm's loss, backward, AdamW.
    let batch = UpdateBatch {
        step,
        rows: &rows,
        exp: &exp,
        temperature: &temperature,
    };
    update::update(learner, &batch, &mut metrics)
        .map_err(|why| failed::save_and_explain(run, step + 1, &rows, &exp, &why))?;
    timer.record("time/update");

    let watched = learner.watch(step, &rows, &exp, &metrics);
    metrics.extend(watched.metrics);
    let secs = timer.finish(&mut metrics);
    let tokens = match needs.source {
        DataSource::Rollouts => cost.tokens,
        DataSource::Pool(_) | DataSource::Pairs => exp.n_tokens(),
    };
    metrics.insert("throughput/tokens_per_sec".into(), tokens as f64 / secs);
    Ok(StepReport {
        metrics,
        exp,
        warnings: watched.warnings,
        rows,
        tokens_drawn: cost.tokens,
        samples_drawn: cost.samples,
    })
}
