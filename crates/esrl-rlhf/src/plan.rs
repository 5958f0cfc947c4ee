//! What an RL run will take.

use crate::config::{Config, learns_from_scores};
use crate::forecast::StepForecast;
use crate::inputs::RunInputs;
use crate::logp_source::LogpSource;
use crate::prompt_value;
use crate::row_source::RowSource;
use algorithms::{Algorithm, Refresh, Requirements};
use anyhow::Result;
use models::{Fetch, LoraConfig};
use planning::{
    Certainty, Disk, Graph, LearningRate, Plan, SamplingMemory, ScoringMemory, Steps, Tokens,
    Workload, adapter_bytes, n_times,
};
use policy::DeviceChoice;
use run::PlanArgs;
use std::path::Path;

/// Bytes that a step writes into metrics.jsonl, timings.jsonl and TensorBoard's events.
const LOGGED: usize = 5_000;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let config = &config.resolved()?;
    let dir = args.run.clone().unwrap_or_else(|| "runs/rlhf".into());
    let needs = config.build_algorithm()?.requirements();
    RunInputs::new(config, needs, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.policy, e))?
        .plan(config, &dir)
}

impl RunInputs {
    /// The plan that the run in `dir` starts from. `config`: resolved.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let algorithm = config.build_algorithm()?;
        let forecast = StepForecast::of(&self.source, &self.needs, config);
        let work = self.workload(&forecast, config)?;
        let mut notes = planning::notes(&work, config.memory(), &self.weights);
        if !self.reward_is_here {
            notes.push(
                "model.reward does not exist yet: its adapter is taken to be like the policy's"
                    .into(),
            );
        }
        let (t, n_rows) = (&config.train, self.source.n_rows());
        let name = config.algorithm["name"].as_str().unwrap_or("esrl-rlhf");
        Ok(Plan {
            stage: name.to_string(),
            source: self.meta.source.clone(),
            n_weights: self.weights.n_params,
            weights_here: self.weights.present,
            memory: config.memory().plan(work)?,
            disk: self.disk(config, dir)?,
            steps: Steps {
                steps: t.steps,
                optimiser_steps: forecast.optimiser_steps,
                rows: n_rows,
                rows_are: match &self.source {
                    RowSource::Prompts { .. } => "prompts",
                    RowSource::Pool(_) => "rows",
                    RowSource::Pairs { .. } => "pairs",
                },
                rows_per_step: config.rollout.prompts.min(n_rows),
            },
            tokens: self.tokens(&forecast, algorithm.as_ref(), config),
            rates: rates(config, &self.needs, algorithm),
            notes,
        })
    }

    fn workload(&self, forecast: &StepForecast, config: &Config) -> Result<Workload> {
        let (shape, needs, weights) = (&self.meta.base.config, &self.needs, config.rollout.weights);
        let sampling_weights = self.weights.extra_bytes(shape, weights);
        let logp_source = LogpSource::decide(&config.rollout, needs, sampling_weights > 0);
        let trained = self.n_trained(config);
        let refreshed = needs.reference_refresh != Refresh::Never;
        let frozen_copies = usize::from(self.meta.adapter.is_some() || refreshed)
            + usize::from(needs.old_policy.is_some());
        let with_head = |lora: &LoraConfig| lora.n_params(shape) + shape.hidden_size + 1;
        let critic = self.critic(config).map(|lora| ("critic", lora));
        let graphs = [("policy", &self.lora)].into_iter().chain(critic);
        Ok(Workload {
            shape: shape.clone(),
            device: DeviceChoice::parse(&config.device)?,
            weight_bytes: self.weights.bytes_in_use() + sampling_weights,
            parameters: trained,
            adapter_numbers: trained
                + frozen_copies * self.lora.n_params(shape)
                + self.reward.as_ref().map_or(0, with_head),
            graphs: graphs
                .map(|(name, lora)| Graph {
                    name,
                    lora: Some(lora.clone()),
                })
                .collect(),
            largest: forecast.batches.largest,
            longest: forecast.longest_unit,
            scoring: self.scoring(forecast, logp_source, config),
            sampling: self.sampling(forecast, logp_source, config),
        })
    }

    /// Reference, critic and `logp_old` in micro-batches; rewards and prompt values in batches of
    /// their own.
    fn scoring(&self, forecast: &StepForecast, logp: LogpSource, config: &Config) -> ScoringMemory {
        let (needs, longest_row) = (&self.needs, forecast.longest_row);
        let room = config.rollout.max_new_tokens;
        let evaluated = self.eval_tasks.iter().map(|task| task.ids.len() + room);
        let longest_evaluated = evaluated.clone().max().unwrap_or(0);
        let mut scored = match &self.source {
            RowSource::Prompts { .. } => forecast.step_tokens,
            RowSource::Pool(pool) if learns_from_scores(needs) => pool.lens(config).iter().sum(),
            RowSource::Pool(_) | RowSource::Pairs { .. } => 0,
        };
        let longest_scored = if scored > 0 { longest_row } else { 0 };
        scored = scored.max(evaluated.sum()).min(rewards::BATCH_TOKENS);
        let mut whole = match &self.reward {
            Some(_) => scored.max(longest_scored).max(longest_evaluated),
            None => 0,
        };
        if let RowSource::Pool(pool) = &self.source
            && pool.needs().prompt_value.is_some()
        {
            let prompts: usize = pool.prompt_lens().iter().sum();
            whole = whole.max(prompts.min(prompt_value::MAX_TOKENS));
        }
        let limit = config.train.micro_batch_tokens.max(longest_row);
        ScoringMemory {
            micro_batched: match needs.reference || needs.critic || logp.takes_forward() {
                true => forecast.step_tokens.min(limit),
                false => 0,
            },
            whole,
            longest: longest_row.max(longest_evaluated),
        }
    }

    /// In steps, and in evaluations.
    fn sampling(
        &self,
        forecast: &StepForecast,
        logp: LogpSource,
        config: &Config,
    ) -> SamplingMemory {
        let r = &config.rollout;
        let prompts: Vec<usize> = self.eval_tasks.iter().map(|task| task.ids.len()).collect();
        let evaluated = SamplingMemory::of(&prompts, prompts.len(), r.max_new_tokens, r.max_rows);
        SamplingMemory {
            rows_key: "rollout.max_rows",
            kept_states: match logp.keeps_states() {
                true => r.prompts * self.needs.max_samples * r.max_new_tokens,
                false => 0,
            },
            ..forecast.sampling.max(evaluated)
        }
    }

    fn disk(&self, config: &Config, dir: &Path) -> Result<Disk> {
        let (t, base, needs) = (&config.train, &self.meta.base, &self.needs);
        let policy = adapter_bytes(&self.lora, &base.config, 0);
        let head = base.config.hidden_size + 1;
        let critic = self.critic(config);
        let critic = critic.map(|lora| adapter_bytes(lora, &base.config, head));
        let refreshed = |when: Refresh| u64::from(when != Refresh::Never);
        let n_copies = needs.old_policy.map_or(0, refreshed) + refreshed(needs.reference_refresh);
        let mut results = vec![("adapter", policy)];
        if !config.rewards.is_empty() && !self.eval_tasks.is_empty() {
            results.push(("best", policy));
        }
        let samples = n_times(t.steps, t.sample_every) * config.rollout.prompts.min(8) * 1_000;
        let logs = t.steps * LOGGED + samples + self.pool_bytes(config);
        Ok(Disk {
            dir: dir.to_path_buf(),
            trained: policy + critic.unwrap_or(0),
            copies: n_copies * policy,
            retention: t.keep(),
            n_checkpoints: n_times(t.steps, t.save_every),
            results,
            other: planning::tokenizer_bytes(base)? + logs,
        })
    }

    /// The rounds of a pool, whose ids are text.
    fn pool_bytes(&self, config: &Config) -> usize {
        let RowSource::Pool(pool) = &self.source else {
            return 0;
        };
        let every = pool
            .needs()
            .grow
            .as_ref()
            .map(|grow| grow.every.max(1) as usize);
        let rounds = every.map_or(1, |every| config.train.steps.div_ceil(every));
        let lens = pool.lens(config);
        rounds * lens.iter().map(|len| len * 6 + 120).sum::<usize>()
    }

    fn tokens(
        &self,
        forecast: &StepForecast,
        algorithm: &dyn Algorithm,
        config: &Config,
    ) -> Tokens {
        let (r, t) = (&config.rollout, &config.train);
        let (trained_is, n_responses) = match &self.source {
            RowSource::Prompts { tasks, .. } => {
                // some methods answer each new prompt greedily first
                let estimates = !algorithm.prompts_to_estimate(&[tasks[0].key]).is_empty();
                let prompts = if estimates {
                    tasks.len().min(t.steps * r.prompts)
                } else {
                    0
                };
                let per_step = r.prompts.min(tasks.len()) * self.needs.max_samples;
                (Certainty::AtMost, t.steps * per_step + prompts)
            }
            RowSource::Pool(pool) => (Certainty::About, pool.n_drawn(t.steps)),
            // neighbouring pairs of one prompt share its tokens, and epochs order them anew
            RowSource::Pairs { .. } if forecast.extrapolated => (Certainty::About, 0),
            RowSource::Pairs { .. } => (Certainty::Exact, 0),
        };
        let evaluated = (1 + n_times(t.steps, t.eval_every)) * self.eval_tasks.len();
        Tokens {
            trained: forecast.batches.tokens,
            trained_is,
            sampled_at_most: (n_responses * r.max_new_tokens) as u64,
            evaluated_at_most: (evaluated * r.max_new_tokens) as u64,
        }
    }
}

fn rates(
    config: &Config,
    needs: &Requirements,
    algorithm: Box<dyn Algorithm>,
) -> Vec<(&'static str, LearningRate)> {
    let t = config.train.clone();
    let (critic, n_steps) = (t.critic.clone(), t.steps);
    let policy = move |step| t.policy_lr(step as u64, algorithm.as_ref());
    let mut rates: Vec<(&str, LearningRate)> = vec![("train.policy", Box::new(policy))];
    if needs.critic {
        let critic = move |step| critic.lr_at(step, n_steps);
        rates.push(("train.critic", Box::new(critic)));
    }
    rates
}
