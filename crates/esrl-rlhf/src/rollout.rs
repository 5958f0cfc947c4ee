//! Sampling without a graph, and the scores of what was sampled.

use crate::config::Config;
use crate::data::Task;
use crate::learner::Metrics;
use crate::roles::Roles;
use crate::row::{Row, Sampler};
use algorithms::{Algorithm, DataSource, Estimate, Requirements, SamplingPlan, TextMetric};
use anyhow::Result;
use generation::{Engine, Finish, Request, Sample, Sampling};
use models::Lora;
use rewards::{Item, Readings, Scored};
use std::rc::Rc;

/// How the run draws where the algorithm plans nothing else, and which random stream it draws from.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub sampling: Sampling,
    pub max_rows: usize,
    /// Keep the states that tokens are drawn from
    pub keep_states: bool,
    pub seed: u64,
    pub step: u64,
}

/// Whether a step's log-probs are read off the states that its samples were drawn from.
pub(crate) fn keeps_states(config: &Config, needs: &Requirements, samples_apart: bool) -> bool {
    let same = !samples_apart;
    let read = config.rollout.rescore.is_none() && needs.reference && needs.old_policy.is_none();
    same && read && needs.source == DataSource::Rollouts
}

/// Purposes of the samples' random streams.
pub(crate) const ROLLOUT: u64 = 0;
pub(crate) const EVALUATION: u64 = 1;
pub(crate) const GROW: u64 = 2;
pub(crate) const VALUE: u64 = 3;

/// Draws `plan[i].n` responses to `tasks[i]` from a policy as it is (`lora` None: the base). Rows come in task order.
pub(crate) fn sample(
    roles: &Roles,
    lora: Option<&Lora>,
    tasks: &[Rc<Task>],
    plan: &[SamplingPlan],
    draw: Draw,
    purpose: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Row>> {
    let mut requests = Vec::new();
    let mut task_of_request = Vec::new();
    for (i, (task, plan)) in tasks
        .iter()
        .zip(plan)
        .enumerate()
        .filter(|(_, (_, plan))| plan.n > 0)
    {
        let temperature = plan.temperature.unwrap_or(draw.sampling.temperature);
        let sampling = Sampling {
            temperature,
            ..draw.sampling
        };
        let stream = [draw.seed ^ (purpose << 32), draw.step, i as u64];
        requests.push(Request {
            prompt: task.ids.clone(),
            n: plan.n,
            sampling,
            stream,
        });
        task_of_request.push(i);
    }
    let stop = &roles.encoder.ends().stop;
    let engine = Engine {
        model: match purpose {
            ROLLOUT => roles.sampler(),
            _ => roles.model(),
        },
        lora,
        stop,
        max_rows: draw.max_rows,
        keep_states: draw.keep_states,
    };
    let samples = engine.run(&requests, progress)?;
    let row = |sample: Sample| {
        let sampler = Sampler {
            temperature: sample.sampling.temperature,
            logps: sample.logps,
            entropies: sample.entropies,
            max_probs: sample.max_probs,
            states: sample.states,
        };
        let task = &tasks[task_of_request[sample.request]];
        let finished = sample.finish == Finish::Stop;
        Row::new(task, &sample.ids, finished, Some(sampler))
    };
    Ok(samples.into_iter().map(row).collect())
}

/// The rows of each prompt and, as the group's last, its reference answer where that fits `max_new_tokens`.
pub(crate) fn with_reference_answers(
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
            let ids = roles.encoder.response(reference)?;
            if ids.len() <= max_new_tokens {
                out.push(Row::new(&task, &ids, true, None));
            }
        }
    }
    Ok(out)
}

/// What each source of reward says of each row.
pub(crate) fn readings(roles: &mut Roles, rows: &[Row]) -> Result<Readings> {
    let text = |row: &Row| {
        Ok((
            row.task.prompt.ask.text(),
            roles.encoder.decode(row.response())?,
        ))
    };
    let texts = rows.iter().map(text).collect::<Result<Vec<_>>>()?;
    let items: Vec<Item> = rows.iter().zip(&texts).map(item).collect();
    Ok(roles.rewards.read(&roles.base.model, &items)?)
}

fn item<'a>((row, (prompt, response)): (&'a Row, &'a (String, String))) -> Item<'a> {
    Item {
        prompt,
        response,
        reference: row.task.prompt.reference.as_deref(),
        ids: &row.ids,
        n_response_tokens: row.response().len(),
    }
}

/// The rewards of one batch of rows.
pub(crate) fn reward(roles: &mut Roles, rows: &[Row]) -> Result<Scored> {
    let readings = readings(roles, rows)?;
    Ok(roles.rewards.sum(&readings))
}

/// `reward/<source>` for the log.
pub(crate) fn means(scored: &Scored) -> Metrics {
    let named = |(name, mean): (&String, &f64)| (format!("reward/{name}"), *mean);
    scored.means.iter().map(named).collect()
}

/// A text metric of each response against its prompt's reference answer, 0..1.
pub(crate) fn metric(roles: &Roles, metric: TextMetric, rows: &[Row]) -> Result<Vec<f32>> {
    rows.iter()
        .map(|row| {
            let reference = row.task.prompt.reference.as_deref().unwrap_or_default();
            let text = roles.encoder.decode(row.response())?;
            Ok(match metric {
                TextMetric::Bleu => rewards::sentence_bleu(&text, &[reference], true) / 100.0,
                TextMetric::RougeL => rewards::rouge_l(reference, &text, false),
            } as f32)
        })
        .collect()
}

/// Greedy answers to prompts that the algorithm has not met, scored: ESRL's first estimate of its capability.
pub(crate) fn estimates(
    roles: &mut Roles,
    algorithm: &dyn Algorithm,
    tasks: &[Rc<Task>],
    draw: Draw,
) -> Result<(Vec<Estimate>, usize)> {
    let keys: Vec<u64> = tasks.iter().map(|t| t.key).collect();
    let of_key = |key: &u64| {
        let found = tasks.iter().find(|task| task.key == *key);
        Rc::clone(found.expect("unknown prompts come from those given"))
    };
    let tasks: Vec<Rc<Task>> = algorithm
        .prompts_to_estimate(&keys)
        .iter()
        .map(of_key)
        .collect();
    if tasks.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let greedy = SamplingPlan {
        n: 1,
        temperature: Some(0.0),
    };
    let policy = roles.policy.frozen();
    let plan = vec![greedy; tasks.len()];
    let rows = sample(
        roles,
        Some(&policy),
        &tasks,
        &plan,
        draw,
        ROLLOUT,
        &mut |_, _| {},
    )?;
    let scores = reward(roles, &rows)?.total;
    let metrics = match algorithm.requirements().text_metric {
        Some(kind) => metric(roles, kind, &rows)?,
        None => vec![0.0; rows.len()],
    };
    let n_tokens = rows.iter().map(|row| row.response().len()).sum();
    let estimate = |((row, score), metric): ((Row, f32), f32)| {
        let key = row.task.key;
        let sampler = row.sampler.expect("drawn just now");
        Estimate {
            prompt_key: key,
            score,
            text_metric: metric,
            logps: sampler.logps,
            entropies: sampler.entropies,
        }
    };
    let rows = rows.into_iter().zip(scores).zip(metrics);
    Ok((rows.map(estimate).collect(), n_tokens))
}
