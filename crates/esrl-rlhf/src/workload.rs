//! What an RL step holds in memory, for the estimate before the first one.

use crate::config::Config;
use crate::feed::{self, Feed};
use crate::roles::Roles;
use crate::rollout;
use algorithms::Needs;
use candle_core::Var;
use llama::KvCache;
use stage::memory::{self, Workload};

/// Every response is taken at its longest.
pub(crate) fn of(roles: &Roles, feed: &Feed, needs: &Needs, config: &Config) -> Workload {
    let (r, t) = (&config.rollout, &config.train);
    let (policy, critic) = (&roles.policy, roles.critic.as_ref());
    let elements = |vars: &[(String, Var)]| vars.iter().map(|(_, var)| var.elem_count()).sum();
    let adapter: usize = elements(&policy.vars());
    let standing = usize::from(roles.reference.is_some())
        + usize::from(roles.old.is_some())
        + usize::from(config.model.reward.is_some());
    let units = units(feed, needs, config);
    let per_step = r.prompts
        * if units.samples_apart {
            needs.samples
        } else {
            1
        };
    let drawn = match feed {
        Feed::Pairs { .. } => 0,
        Feed::Rollouts { .. } => r.prompts * needs.samples,
        Feed::Pool(_) => r.max_rows,
    };
    let rows = |answers: usize| answers.min(r.max_rows);
    // samples of a prompt share its rows
    let cached = |rows: usize, samples: usize| {
        rows * KvCache::rows_for(r.max_new_tokens)
            + rows.div_ceil(samples) * KvCache::rows_for(units.longest_prompt)
    };
    let (sampled, evaluated) = (rows(drawn), rows(t.eval_prompts));
    Workload {
        weight_bytes: roles.weight_bytes(),
        parameters: adapter + critic.map_or(0, |c| elements(&c.params())),
        frozen: standing * adapter,
        graphs: std::iter::once(policy)
            .chain(critic.map(|c| c.lora()))
            .map(|lora| Some(lora.config.clone()))
            .collect(),
        longest: units.longest,
        tokens: memory::micro_batch(
            units.lens.iter().copied(),
            per_step.div_ceil(needs.minibatches),
            t.micro_batch_tokens,
        )
        .min(t.micro_batch_tokens.max(units.longest)),
        cache_rows: cached(sampled, needs.samples.max(1)).max(cached(evaluated, 1)),
        decoded: sampled.max(evaluated),
        kept_states: match rollout::keeps_states(roles, config, needs) {
            true => drawn * r.max_new_tokens,
            false => 0,
        },
    }
}

/// What a minibatch is made of.
struct Units {
    /// Tokens of each
    lens: Vec<usize>,
    /// Tokens of the longest that no micro-batch cuts: a row, or a whole group
    longest: usize,
    /// A unit is one sample, not all samples of a prompt
    samples_apart: bool,
    longest_prompt: usize,
}

fn units(feed: &Feed, needs: &Needs, config: &Config) -> Units {
    let (room, longest) = (config.rollout.max_new_tokens, config.data.max_prompt_len);
    let (samples_apart, lens, longest_prompt): (_, Vec<usize>, _) = match feed {
        Feed::Rollouts { tasks, .. } => {
            // samples of a prompt that are drawn apart do not share it
            let apart = needs.minibatches > 1 && !needs.whole_groups;
            let samples = needs.samples + usize::from(needs.reference_answer);
            let each = if apart { room } else { samples * room };
            let prompts = tasks.iter().map(|task| task.ids.len());
            let longest = prompts.clone().max().unwrap_or(0);
            (apart, prompts.map(|len| len + each).collect(), longest)
        }
        Feed::Pairs { pairs, .. } => {
            let len = |(task, answers): &feed::Pair| {
                task.ids.len() + answers.iter().map(Vec::len).sum::<usize>()
            };
            (false, pairs.iter().map(len).collect(), longest)
        }
        Feed::Pool(_) => (false, vec![longest + room; config.rollout.prompts], longest),
    };
    let cut = matches!(feed, Feed::Rollouts { .. }) && !needs.whole_groups;
    Units {
        longest: match cut {
            true => longest_prompt + room,
            false => lens.iter().copied().max().unwrap_or(0),
        },
        lens,
        samples_apart,
        longest_prompt,
    }
}
