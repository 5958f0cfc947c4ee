//! What an sft run will take.

use crate::config::Config;
use crate::prepare::{Prepared, SAMPLE_ROWS};
use anyhow::Result;
use data::Example;
use models::Fetch;
use planning::{FitStage, Plan, RowSize, SamplingMemory, ScoringMemory};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    let prepared = Prepared::new(config, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?;
    config.refuse_unused(&prepared.meta.own_settings(), false)?;
    prepared.plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let (n, room) = (self.prompts.len(), config.samples.max_new_tokens);
        let item = |example: &Example| vec![RowSize::alone(example.ids.len())];
        FitStage {
            name: "sft",
            rows_are: "rows",
            graph_name: "policy",
            result: if self.lora.is_some() {
                "adapter"
            } else {
                "model"
            },
            dir,
            train: &config.train,
            device: &config.device,
            meta: &self.meta,
            weights: &self.weights,
            lora: self.lora.as_ref(),
            head: 0,
            train_items: self.train.iter().map(item).collect(),
            eval_items: self.eval.iter().map(item).collect(),
            scoring: ScoringMemory::default(),
            sampling: SamplingMemory::of(&self.prompt_lens, n, room, SAMPLE_ROWS),
            rows_key: "samples.n",
            sampled_once: 0,
            sampled_tokens: n * room,
            sample_bytes: n * room * 5,
        }
        .plan()
    }
}
