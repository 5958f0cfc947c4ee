//! Stage one of a step: prompts are planned, sampled without a graph, and scored.

use crate::roles::Roles;
use algorithms::{Algorithm, Estimate, Experience, Metric, SamplingPlan};
use anyhow::Result;
use data::Prompt;
use generation::{Engine, Finish, Request, Sample, Sampling};
use stage::Batch;

/// A prompt with its ids, made once.
pub(crate) struct Task {
    pub prompt: Prompt,
    pub key: u64,
    pub ids: Vec<u32>,
}

/// One response with its prompt: the row that is scored and trained on.
pub(crate) struct Row {
    pub task: usize,
    pub ids: Vec<u32>,
    pub prompt_len: usize,
    pub sample: Sample,
}

/// How the run draws where the algorithm plans nothing else, and which random stream it draws from.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub sampling: Sampling,
    pub max_rows: usize,
    pub seed: u64,
    pub step: u64,
}

/// Purposes of the samples' random streams.
pub(crate) const ROLLOUT: u64 = 0;
pub(crate) const EVALUATION: u64 = 1;

/// Draws `plan[i].n` responses to `tasks[i]` from the policy as it is. Rows come in task order.
pub(crate) fn sample(
    roles: &Roles,
    tasks: &[&Task],
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
    let policy = roles.policy.frozen();
    let stop = &roles.encoder.ends().stop;
    let engine = Engine {
        model: roles.model(),
        lora: Some(&policy),
        stop,
        max_rows: draw.max_rows,
    };
    let samples = engine.run(&requests, progress)?;
    let row = |sample: Sample| {
        let task = task_of_request[sample.request];
        let mut ids = tasks[task].ids.clone();
        let prompt_len = ids.len();
        ids.extend_from_slice(&sample.ids);
        Row {
            task,
            ids,
            prompt_len,
            sample,
        }
    };
    Ok(samples.into_iter().map(row).collect())
}

/// The sampler's columns of the experience; scores, reference and values are filled in later.
pub(crate) fn experience(rows: &[Row], tasks: &[&Task]) -> Experience {
    let flat = |column: fn(&Sample) -> &Vec<f32>| {
        rows.iter()
            .flat_map(|r| column(&r.sample).clone())
            .collect::<Vec<_>>()
    };
    Experience {
        lens: rows.iter().map(|r| r.sample.ids.len()).collect(),
        prompt_key: rows.iter().map(|r| tasks[r.task].key).collect(),
        finished: rows
            .iter()
            .map(|r| r.sample.finish == Finish::Stop)
            .collect(),
        temperature: rows.iter().map(|r| r.sample.sampling.temperature).collect(),
        logp_sampled: flat(|s| &s.logps),
        logp_old: flat(|s| &s.logps),
        entropy: flat(|s| &s.entropies),
        max_prob: flat(|s| &s.max_probs),
        ..Experience::default()
    }
}

/// Normalised scores of the reward model, one per row.
pub(crate) fn reward(roles: &Roles, rows: &[Row]) -> Result<Vec<f32>> {
    let ids: Vec<&[u32]> = rows.iter().map(|r| r.ids.as_slice()).collect();
    let raw = roles.reward.score(roles.model(), &ids)?;
    Ok(raw
        .into_iter()
        .map(|score| roles.reward.normalised(score))
        .collect())
}

/// A text metric of each response against its prompt's reference answer, 0..1.
pub(crate) fn metric(
    roles: &Roles,
    metric: Metric,
    rows: &[Row],
    tasks: &[&Task],
) -> Result<Vec<f32>> {
    rows.iter()
        .map(|row| {
            let reference = tasks[row.task]
                .prompt
                .reference
                .as_deref()
                .unwrap_or_default();
            let text = roles.encoder.decode(&row.sample.ids)?;
            Ok(match metric {
                Metric::Bleu => rewards::sentence_bleu(&text, &[reference], true) / 100.0,
                Metric::RougeL => rewards::rouge_l(reference, &text, false),
            } as f32)
        })
        .collect()
}

/// Greedy answers to prompts that the algorithm has not met, scored: ESRL's first estimate of its capability.
pub(crate) fn estimates(
    roles: &Roles,
    algorithm: &dyn Algorithm,
    tasks: &[&Task],
    draw: Draw,
) -> Result<(Vec<Estimate>, usize)> {
    let keys: Vec<u64> = tasks.iter().map(|t| t.key).collect();
    let unknown = algorithm.unknown(&keys);
    let tasks: Vec<&Task> = unknown
        .iter()
        .map(|key| {
            *tasks
                .iter()
                .find(|t| t.key == *key)
                .expect("unknown prompts come from those given")
        })
        .collect();
    if tasks.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let plan = vec![
        SamplingPlan {
            n: 1,
            temperature: Some(0.0)
        };
        tasks.len()
    ];
    let rows = sample(roles, &tasks, &plan, draw, ROLLOUT, &mut |_, _| {})?;
    let scores = reward(roles, &rows)?;
    let metrics = match algorithm.needs().metric {
        Some(kind) => metric(roles, kind, &rows, &tasks)?,
        None => vec![0.0; rows.len()],
    };
    let n_tokens = rows.iter().map(|r| r.sample.ids.len()).sum();
    let estimate = |((row, score), metric): ((Row, f32), f32)| Estimate {
        prompt_key: tasks[row.task].key,
        score,
        metric,
        logps: row.sample.logps,
        entropies: row.sample.entropies,
    };
    Ok((
        rows.into_iter()
            .zip(scores)
            .zip(metrics)
            .map(estimate)
            .collect(),
        n_tokens,
    ))
}

/// Reads the policy's (when `rescore`), the reference's and the critic's columns by teacher-forced forwards without a
/// graph; `needs` says which.
pub(crate) fn read_models(
    roles: &Roles,
    rows: &[Row],
    exp: &mut Experience,
    temperature: &[f32],
    rescore: bool,
    reference: bool,
    max_tokens: usize,
) -> candle_core::Result<()> {
    let policy = roles.policy.frozen();
    let critic = roles.critic.as_ref().map(|critic| critic.frozen());
    let (model, head) = (roles.model(), roles.model().head());
    let lens: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    if rescore {
        exp.logp_old.clear();
        exp.entropy.clear();
    }
    for range in ops::micro_batches(&lens, max_tokens) {
        let batch = Batch::new(
            rows[range.clone()]
                .iter()
                .map(|r| (r.ids.as_slice(), r.prompt_len)),
        );
        let temperature = stage::per_label(&batch.labels.layout, &temperature[range]);
        let targets = &batch.labels.targets;
        let before = |lora| batch.before_labels(&batch.hidden(model, lora, None)?);
        let policy = if rescore {
            Some(before(Some(&policy))?)
        } else {
            None
        };
        let reference = if reference {
            Some(before(roles.reference.as_ref())?)
        } else {
            None
        };
        if let Some(hidden) = &policy {
            let scores = ops::token_scores(hidden, head, targets, &temperature)?;
            exp.logp_old.extend(scores.logp.to_vec1::<f32>()?);
            exp.entropy.extend(scores.entropy.to_vec1::<f32>()?);
        }
        if let Some(hidden) = &reference {
            let scores = ops::token_scores(hidden, head, targets, &temperature)?;
            exp.logp_ref.extend(scores.logp.to_vec1::<f32>()?);
        }
        if let (Some(policy), Some(reference)) = (&policy, &reference) {
            exp.kl_exact
                .extend(ops::vocab_kl(policy, reference, head, &temperature)?.to_vec1::<f32>()?);
        }
        if let Some(critic) = &critic {
            exp.values
                .extend(critic.values(model, &batch)?.to_vec1::<f32>()?);
        }
    }
    Ok(())
}
