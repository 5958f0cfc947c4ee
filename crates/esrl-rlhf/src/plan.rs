//! What an RL run will take.

use crate::config::Config;
use crate::forecast::StepForecast;
use crate::inputs::RunInputs;
use crate::row_source::RowSource;
use algorithms::{Algorithm, PoolRequirements, Refresh};
use anyhow::Result;
use models::Fetch;
use planning::plan::{
    Certainty, Disk, Model, Plan, Steps, Stored, Tokens, notes, of_a_run_to_come, times,
    tokenizer_bytes,
};
use run::PlanArgs;
use std::path::Path;

/// Bytes that a step writes into metrics.jsonl, timings.jsonl and TensorBoard's events.
const LOGGED: usize = 5_000;

/// Predicts what [`run`](crate::run) would take; no weight is loaded.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let config = &config.resolved()?;
    let algorithm = config.build_algorithm()?;
    let prepared = RunInputs::new(config, algorithm.requirements(), Fetch::Shape)
        .map_err(|e| of_a_run_to_come(&config.model.policy, e))?;
    let forecast = StepForecast::of(&prepared.source, &prepared.needs, config);
    let work = prepared.workload(&forecast, config)?;
    let (t, meta) = (&config.train, &prepared.meta);
    let shape = &meta.base.config;
    let memory = config.memory().choose(shape, &work)?;

    let name = config.algorithm["name"].as_str().unwrap_or("esrl-rlhf");
    let dir = args.run.clone().unwrap_or_else(|| "runs/rlhf".into());
    let mut notes = notes(&work, config.memory(), &prepared.weights);
    if !prepared.reward_is_here {
        notes.push(
            "model.reward is not there yet: its adapter was taken for one like the policy's".into(),
        );
    }
    let mut rates = vec![("train.policy", policy_rates(config, algorithm.as_ref()))];
    if prepared.needs.critic {
        rates.push(("train.critic", t.critic.curve(t.steps)));
    }
    Ok(Plan {
        what: name.to_string(),
        model: Model::of(meta, &prepared.weights),
        disk: prepared.disk(config, &dir)?,
        steps: Steps {
            steps: t.steps,
            optimiser_steps: forecast.optimiser_steps,
            rows: prepared.source.n_rows(),
            rows_name: match &prepared.source {
                RowSource::Prompts { .. } => "prompts",
                RowSource::Pool(_) => "rows",
                RowSource::Pairs { .. } => "pairs",
            },
            rows_per_step: config.rollout.prompts.min(prepared.source.n_rows()),
        },
        tokens: tokens(&prepared, &forecast, algorithm.as_ref(), config),
        rates,
        notes,
        memory,
        work,
    })
}

impl RunInputs {
    /// What the run takes in `dir`.
    pub fn disk(&self, config: &Config, dir: &Path) -> Result<Disk> {
        let (t, base) = (&config.train, &self.meta.base);
        let policy = Stored {
            numbers: self.lora.n_params(&base.config),
            tensors: self.lora.n_tensors(&base.config),
        };
        let critic = self.critic(config);
        let trained = Stored {
            numbers: self.n_trained(config),
            tensors: policy.tensors + critic.map_or(0, |lora| lora.n_tensors(&base.config) + 2),
        };
        let refreshed = [self.needs.old_policy, Some(self.needs.reference_refresh)];
        let copies = refreshed.iter().flatten().filter(|r| **r != Refresh::Never);
        let copies = copies.count();
        let copies = Stored {
            numbers: copies * policy.numbers,
            tensors: copies * policy.tensors,
        };
        let mut results = vec![("adapter", policy.bytes())];
        if !config.rewards.is_empty() && !self.eval_tasks.is_empty() {
            results.push(("best", policy.bytes()));
        }
        let logs = t.steps * LOGGED + shown(config, t.steps) + pool(self, config);
        Disk::of(
            dir,
            trained,
            copies,
            (t.keep(), times(t.steps, t.save_every)),
            results,
            (tokenizer_bytes(base)?, logs),
        )
    }
}

/// The policy's rate at each step: none while the critic warms up.
fn policy_rates(config: &Config, algorithm: &dyn Algorithm) -> Vec<f64> {
    let t = &config.train;
    (0..t.steps)
        .map(|step| t.policy_lr(step as u64, algorithm))
        .collect()
}

fn tokens(
    prepared: &RunInputs,
    forecast: &StepForecast,
    algorithm: &dyn Algorithm,
    config: &Config,
) -> Tokens {
    let (r, t, needs) = (&config.rollout, &config.train, &prepared.needs);
    let responses = match &prepared.source {
        RowSource::Prompts { tasks, .. } => {
            // a greedy answer to each prompt that the method must know first
            let keys: Vec<u64> = tasks.iter().map(|task| task.key).collect();
            let asks = !algorithm.prompts_to_estimate(&keys[..1]).is_empty();
            let first = if asks { forecast.prompts } else { 0 };
            t.steps * r.prompts.min(tasks.len()) * needs.max_samples + first
        }
        RowSource::Pool(pool) => pool.n_drawn(t.steps),
        RowSource::Pairs { .. } => 0,
    };
    let evaluations = 1 + times(t.steps, t.eval_every);
    Tokens {
        trained: forecast.batches.tokens,
        certainty: match &prepared.source {
            RowSource::Prompts { .. } => Certainty::AtMost,
            RowSource::Pool(_) => Certainty::About,
            RowSource::Pairs { .. } => Certainty::Exact,
        },
        drawn: (responses * r.max_new_tokens) as u64,
        drawn_to_look: (evaluations * prepared.eval_tasks.len() * r.max_new_tokens) as u64,
    }
}

/// Bytes of the readable answers.
fn shown(config: &Config, steps: usize) -> usize {
    let rows = config.rollout.prompts.min(8);
    times(steps, config.train.sample_every) * rows * 1_000
}

/// Bytes of the rounds of a pool: ids as text.
fn pool(prepared: &RunInputs, config: &Config) -> usize {
    let RowSource::Pool(pool) = &prepared.source else {
        return 0;
    };
    let lens = pool.lens(config);
    let PoolRequirements { grow, .. } = pool.needs();
    let rounds = grow.as_ref().map_or(1, |grow| {
        config.train.steps.div_ceil(grow.every.max(1) as usize)
    });
    rounds * lens.iter().map(|len| len * 6 + 120).sum::<usize>()
}
