//! What an RL step holds in memory, for the estimate before the first one.

use crate::config::{Config, learns_from_scores};
use crate::forecast::StepForecast;
use crate::inputs::RunInputs;
use crate::logp_source::LogpSource;
use crate::row_source::RowSource;
use crate::value;
use anyhow::Result;
use models::LoraConfig;
use planning::memory::{Drawing, Graph, Reading, Workload};
use policy::DeviceChoice;

impl RunInputs {
    pub fn workload(&self, forecast: &StepForecast, config: &Config) -> Result<Workload> {
        let r = &config.rollout;
        let device = DeviceChoice::parse(&config.device)?;
        let (shape, needs) = (&self.meta.base.config, &self.needs);
        let adapter = self.lora.n_params(shape);
        let with_head = |lora: &LoraConfig| lora.n_params(shape) + shape.hidden_size + 1;
        let critic = self.critic(config);
        let trained = self.n_trained(config);
        let has_reference =
            self.meta.adapter.is_some() || needs.reference_refresh != algorithms::Refresh::Never;
        let standing = usize::from(has_reference) + usize::from(needs.old_policy.is_some());
        let graph = |name, lora: &LoraConfig| Graph {
            name,
            lora: Some(lora.clone()),
        };
        Ok(Workload {
            device,
            weight_bytes: self.weights.bytes_in_use() + self.weights.extra_bytes(shape, r.weights),
            parameters: trained,
            adapter_numbers: trained
                + standing * adapter
                + self.reward.as_ref().map_or(0, with_head),
            graphs: std::iter::once(graph("policy", &self.lora))
                .chain(critic.map(|lora| graph("critic", lora)))
                .collect(),
            largest: forecast.batches.largest,
            longest: forecast.longest,
            reading: self.reading(forecast, config),
            drawing: self.drawing(forecast, config),
        })
    }

    fn reading(&self, forecast: &StepForecast, config: &Config) -> Reading {
        let (needs, room) = (&self.needs, config.rollout.max_new_tokens);
        let columns = needs.reference || needs.critic || self.logp_source(config).takes_forward();
        let evaluated = self.eval_tasks.iter().map(|task| task.ids.len() + room);
        let longest = evaluated.clone().max().unwrap_or(0);
        let mut whole = 0;
        if self.reward.is_some() {
            let learnt = match &self.source {
                RowSource::Prompts { .. } => forecast.step_tokens,
                RowSource::Pool(pool) if learns_from_scores(needs) => {
                    pool.lens(config).iter().sum()
                }
                RowSource::Pool(_) | RowSource::Pairs { .. } => 0,
            };
            let one = if learnt > 0 { forecast.longest_row } else { 0 };
            whole = learnt.max(evaluated.sum()).min(rewards::BATCH_TOKENS);
            whole = whole.max(one).max(longest);
        }
        if let RowSource::Pool(pool) = &self.source
            && pool.needs().prompt_value.is_some()
        {
            let prompts: usize = pool.prompt_lens().iter().sum();
            whole = whole.max(prompts.min(value::MAX_TOKENS));
        }
        let cut = config.train.micro_batch_tokens.max(forecast.longest_row);
        Reading {
            cut: if columns {
                forecast.step_tokens.min(cut)
            } else {
                0
            },
            whole,
            longest: forecast.longest_row.max(longest),
        }
    }

    /// The source that the loop will decide on.
    fn logp_source(&self, config: &Config) -> LogpSource {
        let (shape, weights) = (&self.meta.base.config, config.rollout.weights);
        let separate = self.weights.extra_bytes(shape, weights) > 0;
        LogpSource::decide(&config.rollout, &self.needs, separate)
    }

    /// Of the steps, and of the evaluations.
    fn drawing(&self, forecast: &StepForecast, config: &Config) -> Drawing {
        let (r, needs) = (&config.rollout, &self.needs);
        let held: Vec<usize> = self.eval_tasks.iter().map(|task| task.ids.len()).collect();
        let evaluated = Drawing::of(&held, held.len(), r.max_new_tokens, r.max_rows);
        Drawing {
            rows_key: "rollout.max_rows",
            kept_states: match self.logp_source(config).keeps_states() {
                true => r.prompts * needs.max_samples * r.max_new_tokens,
                false => 0,
            },
            ..forecast.drawing.or(evaluated)
        }
    }
}
