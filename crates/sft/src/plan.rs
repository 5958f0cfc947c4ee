//! What an sft run will take.

use crate::config::Config;
use crate::prepare::Prepared;
use anyhow::Result;
use llama::Fetch;
use run::PlanArgs;
use stage::plan::{
    Certainty, Disk, Model, Plan, Steps, Stored, Tokens, notes, of_a_run_to_come, times,
    tokenizer_bytes,
};

/// Predicts what [`run`](crate::run) would take; no weight is loaded.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let prepared = Prepared::new(config, Fetch::Shape)
        .map_err(|e| of_a_run_to_come(&config.model.source, e))?;
    let (t, outline) = (&config.train, &prepared.outline);
    let work = prepared.workload(config)?;
    let shape = &outline.base.config;
    let memory = config.memory().choose(shape, &work)?;
    let steps = prepared.steps;
    let trained = match &prepared.lora {
        Some(lora) => Stored {
            numbers: work.parameters,
            tensors: lora.n_tensors(shape),
        },
        None => Stored {
            numbers: work.parameters,
            tensors: prepared.weights.tensors,
        },
    };
    let (prompts, room) = (prepared.prompts.len(), config.samples.max_new_tokens);
    let samples = times(steps, t.sample_every) * prompts * room;
    let tokenizer = tokenizer_bytes(&outline.base)?;
    let result = match &prepared.lora {
        Some(_) => ("adapter", trained.bytes()),
        None => ("model", trained.bytes() + tokenizer as u64),
    };
    let rows = times(steps, t.log_every) + times(steps, t.eval_every);
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    Ok(Plan {
        what: "sft".into(),
        model: Model::of(outline, &prepared.weights),
        disk: Disk::of(
            &dir,
            trained,
            Stored::default(),
            (t.keep(), times(steps, t.save_every)),
            vec![result],
            (tokenizer, rows * 1_000 + samples * 5),
        )?,
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
            drawn_to_look: samples as u64,
        },
        rates: vec![("train.optimizer", t.optimizer.curve(steps))],
        notes: notes(&work, config.memory()),
        memory,
        work,
    })
}
