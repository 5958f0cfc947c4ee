//! Step 1, *sample*: responses of the policy to a step's prompts, without a graph. The pool and the
//! evaluation sample by the same function, [`draw`]. Decoding itself is [`generation::Engine`].

use crate::data::Task;
use crate::roles::Roles;
use crate::row::{Row, SamplerRecord, experience};
use crate::score;
use crate::step_rows::{SamplingCost, StepRows};
use crate::step_timer::StepTimer;
use algorithms::Metrics;
use algorithms::{Algorithm, Estimate, SamplingPlan};
use anyhow::{Result, bail};
use generation::{Engine, Finish, Request, Sample, Sampling};
use models::Lora;
use std::rc::Rc;

/// How responses are drawn, unless the algorithm plans otherwise.
#[derive(Clone, Copy)]
pub(crate) struct DrawSettings {
    pub sampling: Sampling,
    /// Rows decoded together
    pub max_rows: usize,
    /// Keep the hidden states that tokens are drawn from
    pub keep_states: bool,
    pub weights: DrawWeights,
    pub stream: DrawStream,
    pub seed: u64,
    pub step: u64,
}

/// Which copy of the frozen base responses are sampled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrawWeights {
    /// The one that trains
    Training,
    /// The one in the format of `rollout.weights`
    Rollout,
}

/// Which random stream responses are drawn from. The numbers are part of the stream's key and never
/// change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrawStream {
    Rollout = 0,
    Evaluation = 1,
    Grow = 2,
    Value = 3,
}

/// The rollouts of one step: plans, samples, and drops the rows that the algorithm does not keep.
pub(crate) fn rollouts(
    roles: &mut Roles,
    algorithm: &mut dyn Algorithm,
    tasks: &[Rc<Task>],
    settings: DrawSettings,
    timer: &mut StepTimer,
) -> Result<StepRows> {
    let needs = algorithm.requirements();
    let keys: Vec<u64> = tasks.iter().map(|task| task.key).collect();

    // Plan the samples and the temperature of each prompt. Some methods (ESRL) first want one
    // greedy answer to each new prompt.
    let mut cost = SamplingCost::default();
    let estimates = estimates(roles, algorithm, tasks, settings, &mut cost)?;
    algorithm.observe(&estimates);
    let plan = algorithm.plan(&keys, settings.step)?;
    timer.record("time/estimate");

    let policy = roles.policy.frozen();
    let mut rows = draw(roles, Some(&policy), tasks, &plan, settings, &mut |_, _| {})?;
    cost.add(&rows);
    if needs.reference_answer {
        rows = with_reference_answers(roles, rows, settings.sampling.max_new_tokens)?;
    }
    let exp = experience(&rows);
    let keep = algorithm.keep(&exp);
    let kept: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
    let rows: Vec<Row> = rows
        .into_iter()
        .zip(&keep)
        .filter(|(_, keep)| **keep)
        .map(|(row, _)| row)
        .collect();
    if rows.is_empty() {
        bail!("the algorithm kept no rollout; give it more prompts per step");
    }
    timer.record("time/sample");
    Ok(StepRows {
        rows,
        exp: exp.select(&kept),
        new_epoch: false,
        cost,
        metrics: Metrics::new(),
    })
}

/// Draws `plan[i].n` responses to `tasks[i]` from the base with `lora`, or from the base alone.
/// Rows come in task order. `progress(tokens, finished)` is called at every decoding step.
pub(crate) fn draw(
    roles: &Roles,
    lora: Option<&Lora>,
    tasks: &[Rc<Task>],
    plan: &[SamplingPlan],
    settings: DrawSettings,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Row>> {
    let mut requests = Vec::new();
    let mut task_of_request = Vec::new();
    let planned = tasks.iter().zip(plan).enumerate();
    for (i, (task, plan)) in planned.filter(|(_, (_, plan))| plan.n > 0) {
        requests.push(Request {
            prompt: task.ids.clone(),
            n: plan.n,
            sampling: Sampling {
                temperature: plan.temperature.unwrap_or(settings.sampling.temperature),
                ..settings.sampling
            },
            stream: [
                settings.seed ^ ((settings.stream as u64) << 32),
                settings.step,
                i as u64,
            ],
        });
        task_of_request.push(i);
    }
    let engine = Engine {
        model: match settings.weights {
            DrawWeights::Rollout => roles.sampler(),
            DrawWeights::Training => roles.model(),
        },
        lora,
        stop: &roles.encoder.ends().stop,
        max_rows: settings.max_rows,
        keep_states: settings.keep_states,
    };
    let samples = engine.run(&requests, progress)?;
    let row = |sample: Sample| {
        let record = SamplerRecord {
            temperature: sample.sampling.temperature,
            logps: sample.logps,
            entropies: sample.entropies,
            max_probs: sample.max_probs,
            states: sample.states,
        };
        let task = &tasks[task_of_request[sample.request]];
        let finished = sample.finish == Finish::Stop;
        Row::new(task, &sample.ids, finished, Some(record))
    };
    Ok(samples.into_iter().map(row).collect())
}

/// Greedy, scored answers to the prompts that the algorithm has not met: ESRL's first estimate of
/// its capability.
fn estimates(
    roles: &mut Roles,
    algorithm: &dyn Algorithm,
    tasks: &[Rc<Task>],
    settings: DrawSettings,
    cost: &mut SamplingCost,
) -> Result<Vec<Estimate>> {
    let keys: Vec<u64> = tasks.iter().map(|task| task.key).collect();
    let of_key = |key: &u64| {
        let found = tasks.iter().find(|task| task.key == *key);
        Rc::clone(found.expect("unknown prompts are among those given"))
    };
    let tasks: Vec<Rc<Task>> = algorithm
        .prompts_to_estimate(&keys)
        .iter()
        .map(of_key)
        .collect();
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let greedy = SamplingPlan {
        n: 1,
        temperature: Some(0.0),
    };
    let plan = vec![greedy; tasks.len()];
    let settings = DrawSettings {
        keep_states: false,
        ..settings
    };
    let policy = roles.policy.frozen();
    let rows = draw(
        roles,
        Some(&policy),
        &tasks,
        &plan,
        settings,
        &mut |_, _| {},
    )?;
    cost.add(&rows);
    let scores = score::rewards(roles, &rows)?.total;
    let metrics = match algorithm.requirements().text_metric {
        Some(kind) => score::text_metric(roles, kind, &rows)?,
        None => vec![0.0; rows.len()],
    };
    let estimate = |((row, score), metric): ((Row, f32), f32)| {
        let record = row.sampler.expect("just sampled");
        Estimate {
            prompt_key: row.task.key,
            score,
            text_metric: metric,
            logps: record.logps,
            entropies: record.entropies,
        }
    };
    let scored = rows.into_iter().zip(scores).zip(metrics);
    Ok(scored.map(estimate).collect())
}

/// The rows, with each prompt's reference answer as the last of its group where it fits
/// `max_new_tokens`.
fn with_reference_answers(
    roles: &Roles,
    rows: Vec<Row>,
    max_new_tokens: usize,
) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        let task = Rc::clone(&row.task);
        out.push(row);
        let last = rows
            .peek()
            .is_none_or(|next| !Rc::ptr_eq(&next.task, &task));
        if let Some(reference) = task.prompt.reference.as_deref().filter(|_| last) {
            let ids = roles.encoder.answer(&task.prompt, reference)?;
            if ids.len() <= max_new_tokens {
                out.push(Row::new(&task, &ids, true, None));
            }
        }
    }
    Ok(out)
}
