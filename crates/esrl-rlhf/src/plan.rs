//! What an RL run will take.

use crate::config::{Config, learns_from_scores};
use crate::inputs::{Opened, RunInputs};
use crate::logp_source::LogpSource;
use crate::minibatches::optimizer_steps;
use crate::pool::ResponsePool;
use crate::prompt_value;
use crate::row_source::{RowSource, Stream};
use algorithms::{Algorithm, Refresh};
use anyhow::Result;
use data::Mixture;
use models::{Fetch, LoraConfig};
use planning::{
    Certainty, Cut, Forwards, Graph, Group, Plan, RowSize, Sampling, Workload, n_times,
};
use run::{PlanArgs, Rules};
use std::iter;
use std::path::Path;
use std::rc::Rc;

/// Bytes that a step writes into metrics.jsonl, timings.jsonl and TensorBoard's events.
const LOGGED: usize = 5_000;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let config = &config.resolved()?;
    let dir = args.run.clone().unwrap_or_else(|| "runs/rlhf".into());
    let needs = config.build_algorithm()?.requirements();
    let opened = Opened::new(config, needs, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.policy, e))?;
    config.refuse_unused(&opened.meta.own_settings(), false)?;
    opened.read(config, Fetch::Shape)?.plan(config, &dir)
}

impl RunInputs {
    /// The plan that the run in `dir` starts from. `config`: resolved.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let (r, t, needs) = (&config.rollout, &config.train, &self.needs);
        let (shape, n_rows) = (&self.meta.base.config, self.source.n_rows());
        let graph = |name, lora: &LoraConfig, head| Graph {
            name,
            lora: Some(lora.clone()),
            head,
        };
        let head = shape.hidden_size + 1;
        let critic = self.critic(config).map(|lora| graph("critic", lora, head));
        let policy = graph("policy", &self.lora, 0);
        let reward = self
            .reward
            .as_ref()
            .map_or(0, |lora| lora.n_params(shape) + head);
        let refreshed = |when: Refresh| when != Refresh::Never;
        let reference_copied = refreshed(needs.reference_refresh);
        let old_policy_copied = needs.old_policy.is_some_and(refreshed);
        let frozen_policies = usize::from(self.meta.adapter.is_some() || reference_copied)
            + usize::from(needs.old_policy.is_some());
        let best = !config.rewards.is_empty() && !self.eval_tasks.is_empty();
        let samples = n_times(t.steps, t.sample_every) * r.prompts.min(8) * 1_000;
        let assumed =
            "model.reward does not exist yet: its adapter is taken to be like the policy's";
        let algorithm = config.build_algorithm()?;
        let mut work = Workload {
            stage: config.algorithm["name"]
                .as_str()
                .unwrap_or("esrl-rlhf")
                .into(),
            sampling_weights: self.weights.extra_bytes(shape, r.weights),
            memory_gb: t.memory_gb,
            checkpoint_layers: t.checkpoint_blocks,
            graphs: iter::once(policy).chain(critic).collect(),
            frozen_numbers: frozen_policies * self.lora.n_params(shape) + reward,
            steps: t.steps,
            rows: n_rows,
            rows_per_step: r.prompts.min(n_rows),
            rows_key: "rollout.max_rows",
            n_checkpoints: n_times(t.steps, t.save_every),
            retention: t.keep(),
            policy_copies: u64::from(reference_copied) + u64::from(old_policy_copied),
            results: iter::once("adapter")
                .chain(best.then_some("best"))
                .map(|name| (name, false))
                .collect(),
            log_bytes: t.steps * LOGGED + samples,
            assumed: (!self.reward_is_here).then(|| assumed.into()),
            ..Workload::new(&self.meta, &self.weights, &config.device, dir)?
        };
        let scored = self.add_rows(&mut work, config, algorithm.as_ref());
        self.add_scoring(&mut work, config, scored);
        let (all, critic, steps) = (t.clone(), t.critic.clone(), t.steps);
        let policy = move |step| all.policy_lr(step as u64, algorithm.as_ref(), Rules::CURRENT);
        work.rates.push(("train.policy", Rc::new(policy)));
        if needs.critic {
            let critic = move |step| critic.lr_at(step, steps, Rules::CURRENT);
            work.rates.push(("train.critic", Rc::new(critic)));
        }
        work.plan()
    }

    /// A row of the data by its sizes. Responses yet to be sampled have their longest length, and
    /// every prompt gets the most samples that its method may draw.
    fn group(&self, number: usize, config: &Config) -> Group {
        let group = |prompt: (u64, usize), responses: &[usize]| -> Group {
            let row = |response: &usize| RowSize {
                prompt,
                response: *response,
            };
            let rows: Vec<RowSize> = responses.iter().map(row).collect();
            let unit = match self.needs.whole_groups {
                true => rows.len(),
                false => 1,
            };
            rows.chunks(unit).map(<[RowSize]>::to_vec).collect()
        };
        match &self.source {
            RowSource::Prompts(Stream { rows, .. }) => {
                let n = self.needs.max_samples + usize::from(self.needs.reference_answer);
                let responses = vec![config.rollout.max_new_tokens; n];
                group(
                    (rows.key(number), rows.shape(number)[0].tokens()),
                    &responses,
                )
            }
            RowSource::Pairs(Stream { rows, .. }) => {
                let [chosen, rejected] = rows.shape(number);
                let prompt_len = chosen.prompt_len as usize;
                let lens = [chosen, rejected].map(|answer| answer.tokens() - prompt_len);
                group((rows.key(number), prompt_len), &lens)
            }
            RowSource::Pool(_) => unreachable!("a pool has all its rows"),
        }
    }

    /// The rows of a pool by their sizes.
    fn pool_groups(pool: &ResponsePool, config: &Config) -> Vec<Group> {
        let lens = pool.lens(config);
        // with replacement every batch is full
        let n = match pool.needs().replacement {
            true => lens.len().next_multiple_of(config.rollout.prompts),
            false => lens.len(),
        };
        let rows = lens.into_iter().cycle().take(n);
        rows.map(|len| vec![vec![RowSize::alone(len)]]).collect()
    }

    /// Adds the forwards that the loop's own batches, minibatches and micro-batches make of the
    /// rows, and what is sampled to learn from. Returns the tokens that a reward model would score
    /// together if it had no limit.
    fn add_rows(&self, work: &mut Workload, config: &Config, algorithm: &dyn Algorithm) -> usize {
        let (r, t, needs) = (&config.rollout, &config.train, &self.needs);
        let of_pool = match &self.source {
            RowSource::Pool(pool) => Some(Self::pool_groups(pool, config)),
            RowSource::Prompts(_) | RowSource::Pairs(_) => None,
        };
        let any = Mixture::of_rows(of_pool.as_ref().map_or(0, Vec::len));
        let cut = Cut {
            steps: t.steps,
            batch_size: r.prompts,
            seed: t.seed,
            mixture: self.source.mixture().unwrap_or(&any),
            minibatches: &|step, n| optimizer_steps(n, needs, t.seed, step as u64),
            limit: t.micro_batch_tokens,
            counts_packed: true,
            known: matches!(self.source, RowSource::Pairs(_)),
        };
        work.forwards = match &of_pool {
            Some(groups) => Forwards::of(groups.len(), &|i| groups[i].clone(), &cut),
            None => Forwards::of(self.source.n_rows(), &|i| self.group(i, config), &cut),
        };
        let forwards = &mut work.forwards;
        match &self.source {
            RowSource::Prompts(Stream { rows, .. }) => {
                let prompts = forwards.prompts.clone();
                let n_answers = prompts.len() * needs.max_samples;
                work.sampling.push(sampling(prompts, n_answers, config));
                // some methods answer each new prompt greedily first
                let estimates = !algorithm.prompts_to_estimate(&[rows.key(0)]).is_empty();
                let estimated = usize::from(estimates) * rows.len().min(t.steps * r.prompts);
                let sampled = t.steps * work.rows_per_step * needs.max_samples;
                work.sampled_tokens = (sampled + estimated) * r.max_new_tokens;
                (work.rows_are, work.trained_is) = ("prompts", Certainty::AtMost);
                forwards.step_tokens
            }
            RowSource::Pairs(_) => {
                work.rows_are = "pairs";
                // neighbouring pairs of one prompt share its tokens, and epochs order them anew
                if forwards.extrapolated {
                    work.trained_is = Certainty::About;
                }
                0
            }
            RowSource::Pool(pool) => {
                // only weights decide which rows a step takes: any may meet, and with replacement
                // the longest may come each time
                let longest = vec![vec![RowSize::alone(forwards.longest_row)]];
                let any = match pool.needs().replacement {
                    true => vec![&longest; r.prompts],
                    false => of_pool.iter().flatten().collect(),
                };
                forwards.allow_for(&any, &cut);
                let (prompts, lens) = (pool.prompt_lens(), pool.lens(config));
                if pool.needs().prompt_value.is_some() {
                    let tokens = prompts.iter().sum::<usize>();
                    work.scoring.whole = tokens.min(prompt_value::MAX_TOKENS);
                }
                let n_answers = pool.n_drawn(1);
                work.sampling.push(sampling(prompts, n_answers, config));
                work.sampled_tokens = pool.n_drawn(t.steps) * r.max_new_tokens;
                work.trained_is = Certainty::About;
                // each round's ids are text
                let round: usize = lens.iter().map(|len| len * 6 + 120).sum();
                work.log_bytes += pool.n_rounds(t.steps) * round;
                usize::from(learns_from_scores(needs)) * lens.iter().sum::<usize>()
            }
        }
    }

    /// Adds evaluation, and all that is scored: `scored` tokens of the rows by the reward model, in
    /// batches of its own; reference, critic and `logp_old` in micro-batches.
    fn add_scoring(&self, work: &mut Workload, config: &Config, scored: usize) {
        let (r, t, needs) = (&config.rollout, &config.train, &self.needs);
        let prompts: Vec<usize> = self.eval_tasks.iter().map(|task| task.ids.len()).collect();
        let answered = prompts.iter().map(|prompt| prompt + r.max_new_tokens);
        let (longest, longest_answered) = (work.forwards.longest_row, answered.clone().max());
        let longest_answered = longest_answered.unwrap_or(0);
        // only a row that is longer exceeds the limit of a batch
        let batch = |tokens: usize, limit: usize, longest: usize| tokens.min(limit.max(longest));
        let scoring = &mut work.scoring;
        scoring.longest = longest.max(longest_answered);
        if self.reward.is_some() {
            let rows = batch(scored, rewards::BATCH_TOKENS, longest);
            let answers = batch(answered.sum(), rewards::BATCH_TOKENS, longest_answered);
            scoring.whole = scoring.whole.max(rows).max(answers);
        }
        let logp_source = LogpSource::decide(r, needs, work.sampling_weights > 0);
        if needs.reference || needs.critic || logp_source.takes_forward() {
            scoring.micro_batched = batch(work.forwards.step_tokens, t.micro_batch_tokens, longest);
        }
        if logp_source.keeps_states() {
            work.sampling[0].kept_states = r.prompts * needs.max_samples * r.max_new_tokens;
        }
        let (n, evaluations) = (prompts.len(), 1 + n_times(t.steps, t.eval_every));
        work.evaluated_tokens = evaluations * n * r.max_new_tokens;
        work.sampling.push(sampling(prompts, n, config));
    }
}

fn sampling(prompts: Vec<usize>, n_answers: usize, config: &Config) -> Sampling {
    let r = &config.rollout;
    Sampling::of(prompts, n_answers, r.max_new_tokens, r.max_rows)
}
