//! What a reward-model run will take.

use crate::config::Config;
use crate::prepare::{Opened, Prepared, SHOWN};
use anyhow::Result;
use models::Fetch;
use planning::{Forward, Graph, Plan, Sampling, Scoring, Workload, n_times};
use run::PlanArgs;
use std::ops::Range;
use std::path::Path;
use train::Rows;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/rm".into());
    let opened = Opened::new(config, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?;
    config.refuse_unused(&opened.meta.own_settings(), false)?;
    opened.prepare(config, Fetch::Shape)?.plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let graph = Graph {
            name: "reward model",
            lora: Some(self.lora.clone()),
            head: self.meta.base.config.hidden_size,
        };
        let work = Workload::new(&self.meta, &self.weights, &config.device, dir)?;
        let units = |rows: Range<usize>| rows.map(|row| self.eval.unit(row)).collect::<Vec<_>>();
        let work = work.fit(
            &config.train,
            graph,
            &self.train.mixture(),
            &|row| self.train.unit(row),
            &units(0..self.eval.len()),
        );
        let reward = &config.reward;
        let room = reward.normalisation_max_new_tokens;
        let prompts: Vec<usize> = self.requests.iter().map(|r| r.prompt.len()).collect();
        let longest_sample = prompts.iter().max().map_or(0, |prompt| prompt + room);
        let n_samples: usize = self.requests.iter().map(|request| request.n).sum();
        let looks = n_times(work.steps, config.train.sample_every);
        // samples are drawn by the adapter that training starts from
        let sampler = usize::from(self.meta.adapter.is_some());
        Workload {
            stage: "reward-model".into(),
            rows_are: "pairs",
            frozen_numbers: sampler * work.parameters(),
            scoring: Scoring {
                whole: self.scored_whole(room),
                longest: work.scoring.longest.max(longest_sample),
                ..work.scoring
            },
            sampling: vec![Sampling::of(prompts, n_samples, room, reward.max_rows)],
            rows_key: "reward.max_rows",
            evaluated_tokens: n_samples * room,
            results: vec![("reward", true)],
            log_bytes: work.log_bytes + looks * SHOWN * 2 * config.data.max_len * 2,
            ..work
        }
        .plan()
    }

    /// Tokens of the largest forward that `train.micro_batch_tokens` does not limit: the artefact
    /// scores samples and golden answers together, and the pairs that are shown are scored
    /// together.
    fn scored_whole(&self, room: usize) -> usize {
        let requests = self.requests.iter();
        let samples: usize = requests.map(|r| r.n * (r.prompt.len() + room)).sum();
        let shown = 0..SHOWN.min(self.eval.len());
        let golden: usize = shown.clone().map(|row| self.eval.tokens(row)).sum();
        let shown: Vec<_> = shown.flat_map(|row| self.eval.unit(row)).collect();
        let shown = Forward::packed(&shown).tokens;
        samples.max(golden).min(rewards::BATCH_TOKENS).max(shown)
    }
}
