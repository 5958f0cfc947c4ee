//! What an sft run will take.

use crate::config::Config;
use crate::prepare::Prepared;
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
    let (t, meta) = (&config.train, &prepared.meta);
    let work = prepared.workload(config)?;
    let shape = &meta.base.config;
    let memory = config.memory().choose(shape, &work)?;
    let steps = prepared.steps;
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    Ok(Plan {
        what: "sft".into(),
        model: Model::of(meta, &prepared.weights),
        disk: prepared.disk(config, &dir)?,
        steps: Steps {
            steps,
            optimiser_steps: steps,
            rows: prepared.train.len(),
            rows_name: "rows",
            rows_per_step: t.batch_size.min(prepared.train.len()),
        },
        tokens: Tokens {
            trained: prepared.batches.tokens,
            certainty: Certainty::Exact,
            drawn: 0,
            drawn_to_look: prepared.sampled(config) as u64,
        },
        rates: vec![("train.optimizer", t.optimizer.curve(steps))],
        notes: notes(&work, config.memory(), &prepared.weights),
        memory,
        work,
    })
}

impl Prepared {
    /// Tokens of the samples on the way, at most.
    fn sampled(&self, config: &Config) -> usize {
        let (prompts, room) = (self.prompts.len(), config.samples.max_new_tokens);
        times(self.steps, config.train.sample_every) * prompts * room
    }

    /// What the run takes in `dir`.
    pub fn disk(&self, config: &Config, dir: &Path) -> Result<Disk> {
        let (t, base, steps) = (&config.train, &self.meta.base, self.steps);
        let trained = match &self.lora {
            Some(lora) => Stored {
                numbers: lora.n_params(&base.config),
                tensors: lora.n_tensors(&base.config),
            },
            None => Stored {
                numbers: self.weights.n_params,
                tensors: self.weights.n_tensors,
            },
        };
        let tokenizer = tokenizer_bytes(base)?;
        let result = match &self.lora {
            Some(_) => ("adapter", trained.bytes()),
            None => ("model", trained.bytes() + tokenizer as u64),
        };
        let rows = times(steps, t.log_every) + times(steps, t.eval_every);
        Disk::of(
            dir,
            trained,
            Stored::default(),
            (t.keep(), times(steps, t.save_every)),
            vec![result],
            (tokenizer, rows * 1_000 + self.sampled(config) * 5),
        )
    }
}
