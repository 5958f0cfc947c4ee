//! What an sft run will take.

use crate::config::Config;
use crate::prepare::{Prepared, SAMPLE_ROWS};
use anyhow::Result;
use data::Example;
use models::Fetch;
use planning::{FitItem, FitStage, Forward, Plan, SamplingMemory, ScoringMemory};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    Prepared::new(config, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?
        .plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let (t, shape, weights) = (&config.train, &self.meta.base.config, &self.weights);
        let (result, parameters, trained_bytes) = match &self.lora {
            Some(lora) => {
                let bytes = planning::adapter_bytes(lora, shape, 0);
                ("adapter", lora.n_params(shape), bytes)
            }
            None => {
                let bytes = planning::stored_bytes(weights.n_params, weights.n_tensors);
                ("model", weights.n_params, bytes)
            }
        };
        let (n, room) = (self.prompts.len(), config.samples.max_new_tokens);
        let steps = FitStage::steps(t, self.train.len());
        let sampled_tokens = planning::n_times(steps, t.sample_every) * n * room;
        FitStage {
            name: "sft",
            rows_are: "rows",
            graph_name: "policy",
            dir,
            train: t,
            device: &config.device,
            meta: &self.meta,
            weights,
            lora: self.lora.as_ref(),
            parameters,
            trained_bytes,
            result,
            frozen_numbers: 0,
            train_items: self.train.iter().map(item).collect(),
            eval_items: self.eval.iter().map(item).collect(),
            scoring: ScoringMemory::default(),
            sampling: SamplingMemory {
                rows_key: "samples.n",
                ..SamplingMemory::of(&self.prompt_lens, n, room, SAMPLE_ROWS)
            },
            sampled_tokens,
            sample_bytes: sampled_tokens * 5,
        }
        .plan()
    }
}

fn item(example: &Example) -> FitItem {
    let tokens = example.ids.len();
    FitItem {
        counted: tokens,
        forward: Forward::sequence(tokens),
    }
}
