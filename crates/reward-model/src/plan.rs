//! What a reward-model run will take.

use crate::config::Config;
use crate::pair::Pair;
use crate::prepare::{Prepared, SHOWN};
use anyhow::Result;
use models::Fetch;
use planning::{FitItem, FitStage, Forward, Plan, SamplingMemory, ScoringMemory};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/rm".into());
    Prepared::new(config, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?
        .plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let (t, r, shape) = (&config.train, &config.reward, &self.meta.base.config);
        let parameters = self.lora.n_params(shape) + shape.hidden_size;
        let prompts: Vec<usize> = self.requests.iter().map(|r| r.prompt.len()).collect();
        let n_samples = self.requests.iter().map(|request| request.n).sum();
        let room = r.normalisation_max_new_tokens;
        let steps = FitStage::steps(t, self.train.len());
        let shown = planning::n_times(steps, t.sample_every) * SHOWN * 2 * config.data.max_len;
        FitStage {
            name: "reward-model",
            rows_are: "pairs",
            graph_name: "reward model",
            dir,
            train: t,
            device: &config.device,
            meta: &self.meta,
            weights: &self.weights,
            lora: Some(&self.lora),
            parameters,
            trained_bytes: planning::adapter_bytes(&self.lora, shape, shape.hidden_size),
            result: "reward",
            // the adapter that training starts from draws the samples
            frozen_numbers: self.meta.adapter.as_ref().map_or(0, |_| parameters),
            train_items: self.train.iter().map(item).collect(),
            eval_items: self.eval.iter().map(item).collect(),
            scoring: ScoringMemory {
                micro_batched: 0,
                whole: self.scored_whole(room),
                longest: prompts.iter().max().map_or(0, |prompt| prompt + room),
            },
            sampling: SamplingMemory {
                rows_key: "reward.max_rows",
                ..SamplingMemory::of(&prompts, n_samples, room, r.max_rows)
            },
            sampled_tokens: n_samples * room,
            sample_bytes: shown * 2,
        }
        .plan()
    }

    /// Tokens of the largest forward that `train.micro_batch_tokens` does not limit: the artefact
    /// scores samples and golden answers together, and the pairs that are shown are scored
    /// together.
    fn scored_whole(&self, room: usize) -> usize {
        let requests = self.requests.iter();
        let samples: usize = requests.map(|r| r.n * (r.prompt.len() + room)).sum();
        let shown = || self.eval.iter().take(SHOWN).map(item);
        let golden: usize = shown().map(|item| item.counted).sum();
        let shown: usize = shown().map(|item| item.forward.tokens).sum();
        samples.max(golden).min(rewards::BATCH_TOKENS).max(shown)
    }
}

/// The two answers of a pair share their prompt in a forward.
fn item(pair: &Pair) -> FitItem {
    let prompt = pair.chosen.prompt_len;
    let answers = [&pair.chosen, &pair.rejected].map(|e| e.ids.len() - prompt);
    FitItem {
        counted: pair.tokens(),
        forward: Forward::shared_prompt(prompt, answers),
    }
}
