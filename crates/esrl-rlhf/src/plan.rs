//! What an RL run will take.

use crate::config::{Config, learns_from_scores};
use crate::forecast::StepForecast;
use crate::inputs::RunInputs;
use crate::logp_source::LogpSource;
use crate::prompt_value;
use crate::row_source::RowSource;
use algorithms::{Algorithm, Refresh};
use anyhow::Result;
use models::Fetch;
use planning::{
    Certainty, Disk, LearningRate, Plan, SamplingMemory, ScoringMemory, Steps, Tokens, Workload,
    adapter_bytes, n_times,
};
use policy::DeviceChoice;
use run::{PlanArgs, Rules};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes that a step writes into metrics.jsonl, timings.jsonl and TensorBoard's events.
const LOGGED: usize = 5_000;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let config = &config.resolved()?;
    let dir = args.run.clone().unwrap_or_else(|| "runs/rlhf".into());
    let needs = config.build_algorithm()?.requirements();
    let inputs = RunInputs::new(config, needs, Fetch::Shape, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.policy, e))?;
    config.refuse_unused(&inputs.meta.own_settings(), false)?;
    inputs.plan(config, &dir)
}

impl RunInputs {
    /// The plan that the run in `dir` starts from. `config`: resolved.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let (r, t, n_rows) = (&config.rollout, &config.train, self.source.n_rows());
        let algorithm = config.build_algorithm()?;
        let forecast = StepForecast::of(&self.source, &self.needs, config);
        let (rows_are, trained_is, n_responses) = match &self.source {
            RowSource::Prompts { tasks, .. } => {
                // some methods answer each new prompt greedily first
                let estimates = !algorithm.prompts_to_estimate(&[tasks[0].key]).is_empty();
                let estimated = if estimates {
                    n_rows.min(t.steps * r.prompts)
                } else {
                    0
                };
                let per_step = r.prompts.min(n_rows) * self.needs.max_samples;
                ("prompts", Certainty::AtMost, t.steps * per_step + estimated)
            }
            RowSource::Pool(pool) => ("rows", Certainty::About, pool.n_drawn(t.steps)),
            // neighbouring pairs of one prompt share its tokens, and epochs order them anew
            RowSource::Pairs { .. } if forecast.extrapolated => ("pairs", Certainty::About, 0),
            RowSource::Pairs { .. } => ("pairs", Certainty::Exact, 0),
        };
        let evaluated = (1 + n_times(t.steps, t.eval_every)) * self.eval_tasks.len();
        let assumed =
            "model.reward does not exist yet: its adapter is taken to be like the policy's";
        Ok(Plan {
            stage: config.algorithm["name"]
                .as_str()
                .unwrap_or("esrl-rlhf")
                .into(),
            source: self.meta.source.clone(),
            weights: self.weights.clone(),
            memory: config.memory().plan(self.workload(&forecast, config)?)?,
            disk: self.disk(config, dir)?,
            steps: Steps {
                steps: t.steps,
                optimiser_steps: forecast.optimiser_steps,
                rows: n_rows,
                rows_are,
                rows_per_step: r.prompts.min(n_rows),
            },
            tokens: Tokens {
                trained: forecast.batches.tokens,
                trained_is,
                sampled_at_most: (n_responses * r.max_new_tokens) as u64,
                evaluated_at_most: (evaluated * r.max_new_tokens) as u64,
            },
            rates: rates(config, self.needs.critic, algorithm),
            assumed: (!self.reward_is_here).then(|| assumed.into()),
        })
    }

    fn workload(&self, forecast: &StepForecast, config: &Config) -> Result<Workload> {
        let (shape, needs, r) = (&self.meta.base.config, &self.needs, &config.rollout);
        let sampling_weights = self.weights.extra_bytes(shape, r.weights);
        let logp_source = LogpSource::decide(r, needs, sampling_weights > 0);
        let trained = self.n_trained(config);
        let refreshed = needs.reference_refresh != Refresh::Never;
        let frozen_copies = usize::from(self.meta.adapter.is_some() || refreshed)
            + usize::from(needs.old_policy.is_some());
        let reward = self.reward.as_ref();
        let reward = reward.map_or(0, |lora| lora.n_params(shape) + shape.hidden_size + 1);
        let mut graphs = vec![("policy", Some(self.lora.clone()))];
        graphs.extend(
            self.critic(config)
                .map(|lora| ("critic", Some(lora.clone()))),
        );
        let prompts: Vec<usize> = self.eval_tasks.iter().map(|task| task.ids.len()).collect();
        let evaluated = SamplingMemory::of(&prompts, prompts.len(), r.max_new_tokens, r.max_rows);
        Ok(Workload {
            shape: shape.clone(),
            device: DeviceChoice::parse(&config.device)?,
            weight_bytes: self.weights.bytes_in_use() + sampling_weights,
            parameters: trained,
            adapter_numbers: trained + frozen_copies * self.lora.n_params(shape) + reward,
            graphs,
            largest: forecast.batches.largest,
            longest: forecast.longest_unit,
            scoring: self.scoring(forecast, logp_source, config),
            sampling: SamplingMemory {
                kept_states: match logp_source.keeps_states() {
                    true => r.prompts * needs.max_samples * r.max_new_tokens,
                    false => 0,
                },
                ..forecast.sampling.max(evaluated)
            },
            rows_key: "rollout.max_rows",
        })
    }

    /// Reference, critic and `logp_old` in micro-batches; rewards and prompt values in batches of
    /// their own.
    fn scoring(&self, forecast: &StepForecast, logp: LogpSource, config: &Config) -> ScoringMemory {
        let (needs, longest_row) = (&self.needs, forecast.longest_row);
        let room = config.rollout.max_new_tokens;
        let evaluated = self.eval_tasks.iter().map(|task| task.ids.len() + room);
        let longest_evaluated = evaluated.clone().max().unwrap_or(0);
        let mut whole = 0;
        if self.reward.is_some() {
            let scored = match &self.source {
                RowSource::Prompts { .. } => forecast.step_tokens,
                RowSource::Pool(pool) if learns_from_scores(needs) => {
                    pool.lens(config).iter().sum()
                }
                RowSource::Pool(_) | RowSource::Pairs { .. } => 0,
            };
            let longest_scored = if scored > 0 { longest_row } else { 0 };
            whole = scored.max(evaluated.sum()).min(rewards::BATCH_TOKENS);
            whole = whole.max(longest_scored).max(longest_evaluated);
        }
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

    fn disk(&self, config: &Config, dir: &Path) -> Result<Disk> {
        let (t, shape, needs) = (&config.train, &self.meta.base.config, &self.needs);
        let policy = adapter_bytes(&self.lora, shape, 0);
        let critic = self.critic(config);
        let critic = critic.map_or(0, |lora| adapter_bytes(lora, shape, shape.hidden_size + 1));
        let refreshed = |when: Refresh| u64::from(when != Refresh::Never);
        let copies = needs.old_policy.map_or(0, refreshed) + refreshed(needs.reference_refresh);
        let mut results = BTreeMap::from([("adapter", policy)]);
        if !config.rewards.is_empty() && !self.eval_tasks.is_empty() {
            results.insert("best", policy);
        }
        let samples = n_times(t.steps, t.sample_every) * config.rollout.prompts.min(8) * 1_000;
        let pool = match &self.source {
            // each round's ids are text
            RowSource::Pool(pool) => {
                let bytes = pool.lens(config).into_iter().map(|len| len * 6 + 120);
                pool.n_rounds(t.steps) * bytes.sum::<usize>()
            }
            RowSource::Prompts { .. } | RowSource::Pairs { .. } => 0,
        };
        let tokenizer = planning::tokenizer_bytes(&self.meta.base)?;
        Ok(Disk {
            dir: dir.to_path_buf(),
            trained: policy + critic,
            copies: copies * policy,
            retention: t.keep(),
            n_checkpoints: n_times(t.steps, t.save_every),
            results,
            other: tokenizer + t.steps * LOGGED + samples + pool,
        })
    }
}

fn rates(
    config: &Config,
    critic: bool,
    algorithm: Box<dyn Algorithm>,
) -> Vec<(&'static str, LearningRate)> {
    let t = config.train.clone();
    let (of_critic, n_steps) = (t.critic.clone(), t.steps);
    let policy = move |step| t.policy_lr(step as u64, algorithm.as_ref(), Rules::CURRENT);
    let mut rates: Vec<(&str, LearningRate)> = vec![("train.policy", Box::new(policy))];
    if critic {
        let critic = move |step| of_critic.lr_at(step, n_steps, Rules::CURRENT);
        rates.push(("train.critic", Box::new(critic)));
    }
    rates
}
