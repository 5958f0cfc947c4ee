//! What a reward-model run will take.

use crate::config::Config;
use crate::prepare::{Prepared, SHOWN};
use anyhow::Result;
use models::Fetch;
use planning::plan::{
    Certainty, Disk, Model, Plan, Steps, Stored, Tokens, notes, of_a_run_to_come, times,
    tokenizer_bytes,
};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take; no weight is loaded.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let prepared = Prepared::new(config, Fetch::Shape)
        .map_err(|e| of_a_run_to_come(&config.model.source, e))?;
    let (t, meta, steps) = (&config.train, &prepared.meta, prepared.steps);
    let work = prepared.workload(config)?;
    let shape = &meta.base.config;
    let memory = config.memory().choose(shape, &work)?;
    let drawn: usize = prepared.requests.iter().map(|request| request.n).sum();
    let dir = args.run.clone().unwrap_or_else(|| "runs/rm".into());
    Ok(Plan {
        what: "reward-model".into(),
        model: Model::of(meta, &prepared.weights),
        disk: prepared.disk(config, &dir)?,
        steps: Steps {
            steps,
            optimiser_steps: steps,
            rows: prepared.train.len(),
            rows_name: "pairs",
            rows_per_step: t.batch_size.min(prepared.train.len()),
        },
        tokens: Tokens {
            trained: prepared.batches.tokens,
            certainty: Certainty::Exact,
            drawn: 0,
            drawn_to_look: (drawn * config.reward.normalisation_max_new_tokens) as u64,
        },
        rates: vec![("train.optimizer", t.optimizer.curve(steps))],
        notes: notes(&work, config.memory(), &prepared.weights),
        memory,
        work,
    })
}

impl Prepared {
    /// What the run takes in `dir`.
    pub fn disk(&self, config: &Config, dir: &Path) -> Result<Disk> {
        let (t, base, steps) = (&config.train, &self.meta.base, self.steps);
        let trained = Stored {
            numbers: self.lora.n_params(&base.config) + base.config.hidden_size,
            tensors: self.lora.n_tensors(&base.config) + 2,
        };
        let tokenizer = tokenizer_bytes(base)?;
        let rows = times(steps, t.log_every) + times(steps, t.eval_every);
        let shown = times(steps, t.sample_every) * SHOWN * 2 * config.data.max_len;
        Disk::of(
            dir,
            trained,
            Stored::default(),
            (t.keep(), times(steps, t.save_every)),
            vec![("reward", trained.bytes() + tokenizer as u64)],
            (tokenizer, rows * 1_000 + shown * 2),
        )
    }
}
