//! What an RL step holds in memory, for the estimate before the first one.

use crate::config::Config;
use crate::course::Course;
use crate::prepare::Prepared;
use crate::rollout;
use algorithms::Feed;
use anyhow::Result;
use llama::KvCache;
use stage::DeviceChoice;
use stage::memory::{Drawing, Graph, Workload};

impl Prepared {
    pub fn workload(&self, course: &Course, config: &Config) -> Result<Workload> {
        let (r, t) = (&config.rollout, &config.train);
        let device = DeviceChoice::parse(&config.device)?;
        let (shape, needs) = (&self.outline.base.config, &self.needs);
        let adapter = self.lora.n_params(shape);
        let with_head = |lora: &llama::LoraConfig| lora.n_params(shape) + shape.hidden_size + 1;
        let critic = self.critic(config);
        let trained = adapter + critic.map_or(0, with_head);
        let has_reference =
            self.outline.adapter.is_some() || needs.reference_refresh != algorithms::Refresh::Never;
        let standing = usize::from(has_reference) + usize::from(needs.old.is_some());
        let graph = |name, lora: &llama::LoraConfig| Graph {
            name,
            lora: Some(lora.clone()),
        };
        let scored = match self.reward {
            Some(_) => t.micro_batch_tokens.max(rewards::BATCH_TOKENS),
            None => t.micro_batch_tokens,
        };
        let evaluated = self
            .eval_tasks
            .iter()
            .map(|task| task.ids.len() + r.max_new_tokens);
        let read = course.step_tokens.max(evaluated.sum());
        Ok(Workload {
            device,
            weight_bytes: self.weights.bytes() + self.weights.bytes_beside(shape, r.weights),
            parameters: trained,
            adapter_numbers: trained
                + standing * adapter
                + self.reward.as_ref().map_or(0, with_head),
            graphs: std::iter::once(graph("policy", &self.lora))
                .chain(critic.map(|lora| graph("critic", lora)))
                .collect(),
            largest: course.batches.largest,
            longest: course.longest,
            read_tokens: read.min(scored.max(course.longest)),
            drawing: self.drawing(course, config),
        })
    }

    fn drawing(&self, course: &Course, config: &Config) -> Drawing {
        let (r, needs) = (&config.rollout, &self.needs);
        let drawn = match needs.feed {
            Feed::Pairs => 0,
            Feed::Rollouts => r.prompts * needs.samples,
            Feed::Pool(_) => r.max_rows,
        };
        let rows = drawn.min(r.max_rows);
        let own = KvCache::rows_for(r.max_new_tokens);
        let mut held: Vec<usize> = self.eval_tasks.iter().map(|task| task.ids.len()).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        held.truncate(r.max_rows);
        let evaluated: usize = held.iter().map(|len| KvCache::rows_for(*len) + own).sum();
        // a pool draws one answer or several to prompts of any length
        let held_tokens: usize = held.iter().sum();
        let prompts = match needs.feed {
            Feed::Pool(_) => rows * KvCache::rows_for(course.longest_prompt),
            _ => course.prompt_rows,
        };
        Drawing {
            cache_rows: (prompts + rows * own).max(evaluated),
            rows: rows.max(held.len()),
            longest: own
                + KvCache::rows_for(
                    course
                        .longest_prompt
                        .max(held.first().copied().unwrap_or(0)),
                ),
            rows_key: "rollout.max_rows",
            prompt_tokens: prompts.max(held_tokens),
            kept_states: match rollout::keeps_states(config, needs, self.samples_apart(config)) {
                true => drawn * r.max_new_tokens,
                false => 0,
            },
        }
    }

    /// Whether rollouts come from other weights than those that learn.
    fn samples_apart(&self, config: &Config) -> bool {
        let (shape, weights) = (&self.outline.base.config, config.rollout.weights);
        self.weights.bytes_beside(shape, weights) > 0
    }
}
