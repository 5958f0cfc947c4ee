//! What a reward-model run will take.

use crate::config::Config;
use crate::pair::Pair;
use crate::prepare::{Prepared, SHOWN};
use anyhow::Result;
use models::Fetch;
use planning::{FitStage, Forward, Plan, RowSize, SamplingMemory, ScoringMemory};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/rm".into());
    let prepared = Prepared::new(config, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?;
    config.refuse_unused(&prepared.meta.own_settings(), false)?;
    prepared.plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let reward = &config.reward;
        let prompts: Vec<usize> = self.requests.iter().map(|r| r.prompt.len()).collect();
        let n_samples = self.requests.iter().map(|request| request.n).sum();
        let room = reward.normalisation_max_new_tokens;
        FitStage {
            name: "reward-model",
            rows_are: "pairs",
            graph_name: "reward model",
            result: "reward",
            dir,
            train: &config.train,
            device: &config.device,
            meta: &self.meta,
            weights: &self.weights,
            lora: Some(&self.lora),
            head: self.meta.base.config.hidden_size,
            train_items: self.train.iter().map(item).collect(),
            eval_items: self.eval.iter().map(item).collect(),
            scoring: ScoringMemory {
                micro_batched: 0,
                whole: self.scored_whole(room),
                longest: prompts.iter().max().map_or(0, |prompt| prompt + room),
            },
            sampling: SamplingMemory::of(&prompts, n_samples, room, reward.max_rows),
            rows_key: "reward.max_rows",
            sampled_once: n_samples * room,
            sampled_tokens: 0,
            sample_bytes: SHOWN * 2 * config.data.max_len * 2,
        }
        .plan()
    }

    /// Tokens of the largest forward that `train.micro_batch_tokens` does not limit: the artefact
    /// scores samples and golden answers together, and the pairs that are shown are scored
    /// together.
    fn scored_whole(&self, room: usize) -> usize {
        let requests = self.requests.iter();
        let samples: usize = requests.map(|r| r.n * (r.prompt.len() + room)).sum();
        let shown = self.eval.iter().take(SHOWN);
        let golden: usize = shown.clone().map(Pair::tokens).sum();
        let shown: usize = shown.map(|pair| Forward::packed(&item(pair)).tokens).sum();
        samples.max(golden).min(rewards::BATCH_TOKENS).max(shown)
    }
}

/// The two answers of a pair share their prompt in a forward.
fn item(pair: &Pair) -> Vec<RowSize> {
    let prompt = (0, pair.chosen.prompt_len);
    let answers = [&pair.chosen, &pair.rejected].into_iter();
    answers
        .map(|e| RowSize {
            prompt,
            response: e.ids.len() - prompt.1,
        })
        .collect()
}
