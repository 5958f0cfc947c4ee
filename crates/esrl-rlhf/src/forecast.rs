//! Dry run of an RL run from sequence lengths: the forwards that its steps make. Walks the loop's
//! own batches, minibatches and micro-batches. Responses yet to be sampled count with the longest
//! length, and every prompt gets the most samples that its method may draw.

use crate::config::Config;
use crate::data::Task;
use crate::minibatches::{minibatch_size, optimizer_steps};
use crate::row_source::{RowSource, batches};
use algorithms::Requirements;
use planning::{Batches, Forward, RowSize, SamplingMemory, largest_micro_batch, visit_batches};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepForecast {
    pub batches: Batches,
    pub optimiser_steps: usize,
    /// Packed tokens of the fullest step
    pub step_tokens: usize,
    /// Tokens of the longest unit that no micro-batch splits: a row, or a whole group
    pub longest_unit: usize,
    /// Tokens of the longest row
    pub longest_row: usize,
    /// Sampling of the responses to learn from
    pub sampling: SamplingMemory,
    /// Whether some epochs were not walked
    pub extrapolated: bool,
}

/// Rows that belong together: those of one prompt or of one pair, or a row of a pool.
type Group = Vec<RowSize>;

/// What decides how a step is cut.
struct Walk<'a> {
    needs: &'a Requirements,
    config: &'a Config,
    /// Most responses that are sampled for each prompt
    n_samples: usize,
    /// Whether it is known before the run which rows meet, and how long they are
    known: bool,
}

impl StepForecast {
    pub fn of(source: &RowSource, needs: &Requirements, config: &Config) -> Self {
        let r = &config.rollout;
        let row = |task: &Task, response: usize| RowSize {
            prompt: (task.key, task.ids.len()),
            response,
        };
        let n_rows = needs.max_samples + usize::from(needs.reference_answer);
        let groups: Vec<Group> = match source {
            RowSource::Prompts { tasks, .. } => tasks
                .iter()
                .map(|task| vec![row(task, r.max_new_tokens); n_rows])
                .collect(),
            RowSource::Pairs { pairs, .. } => pairs
                .iter()
                .map(|(task, answers)| answers.iter().map(|ids| row(task, ids.len())).collect())
                .collect(),
            RowSource::Pool(pool) => {
                let lens = pool.lens(config).into_iter();
                lens.map(|len| vec![RowSize::alone(len)]).collect()
            }
        };
        let walk = Walk {
            needs,
            config,
            n_samples: match source {
                RowSource::Prompts { .. } => needs.max_samples,
                RowSource::Pool(_) | RowSource::Pairs { .. } => 0,
            },
            known: matches!(source, RowSource::Pairs { .. }),
        };
        let pool = match source {
            RowSource::Pool(pool) => Some(pool),
            RowSource::Prompts { .. } | RowSource::Pairs { .. } => None,
        };
        let (mut n, mut all) = (groups.len(), groups.iter().collect::<Vec<_>>());
        if pool.is_some_and(|pool| pool.needs().replacement) {
            // every batch is full, and weights may choose the longest row each time
            n = n.next_multiple_of(r.prompts);
            all.sort_by_key(|group| group[0].response);
            all = vec![all[all.len() - 1]; r.prompts];
        }
        let mut forecast = Self::default();
        let loader = |cursor| batches(n, config, cursor);
        forecast.extrapolated = visit_batches(config.train.steps, loader, |step, batch, times| {
            let batch: Vec<&Group> = batch.iter().map(|i| &groups[i % groups.len()]).collect();
            forecast.step(step, times, &batch, &walk);
        });
        // only scores decide which rows of a pool a step takes: any may meet
        if forecast.extrapolated || pool.is_some() {
            forecast.allow_for(&all, &walk);
        }
        if let Some(pool) = pool {
            let (prompts, n) = (pool.prompt_lens(), pool.n_drawn(1));
            forecast.sampling = SamplingMemory::of(&prompts, n, r.max_new_tokens, r.max_rows);
        }
        forecast
    }

    /// The units of these groups, of which no micro-batch splits one.
    fn units<'a>(&mut self, groups: &[&'a Group], walk: &Walk) -> Vec<&'a [RowSize]> {
        let whole = walk.needs.whole_groups;
        let size = |group: &Group| if whole { group.len() } else { 1 };
        let units = groups.iter().flat_map(|group| group.chunks(size(group)));
        for unit in units.clone() {
            self.longest_unit = self.longest_unit.max(Forward::packed(unit).tokens);
            let longest = unit.iter().map(RowSize::tokens).max();
            self.longest_row = self.longest_row.max(longest.unwrap_or(0));
        }
        units.collect()
    }

    /// Adds a step that the run takes `times` times.
    fn step(&mut self, step: usize, times: usize, groups: &[&Group], walk: &Walk) {
        let (t, units) = (&walk.config.train, self.units(groups, walk));
        let tokens = Forward::packed(&units.concat()).tokens;
        self.step_tokens = self.step_tokens.max(tokens);
        for minibatch in optimizer_steps(units.len(), walk.needs, t.seed, step as u64) {
            self.optimiser_steps += times;
            let units: Vec<&[RowSize]> = minibatch.iter().map(|unit| units[*unit]).collect();
            // a unit may share its prompt with the row before it
            let added = |i: usize, first: bool| match units[..i].last().and_then(|u| u.last()) {
                Some(before) if !first => {
                    let both = [&[*before], units[i]].concat();
                    Forward::packed(&both).tokens - before.tokens()
                }
                _ => Forward::packed(units[i]).tokens,
            };
            for range in ops::micro_batches_by(units.len(), t.micro_batch_tokens, added) {
                let forward = Forward::packed(&units[range].concat());
                self.batches.add(forward, times);
            }
        }
        if !walk.known {
            self.allow_for(groups, walk);
        }
    }

    /// Allows for the largest step that takes `rollout.prompts` of these groups. Rows yet to be
    /// sampled or chosen may be shorter or fewer, and split differently.
    fn allow_for(&mut self, groups: &[&Group], walk: &Walk) {
        let (r, limit) = (&walk.config.rollout, walk.config.train.micro_batch_tokens);
        let tokens = |rows: &[RowSize]| Forward::packed(rows).tokens;
        let item = |unit: &[RowSize]| (tokens(unit) * usize::from(walk.known), tokens(unit));
        let items: Vec<_> = self.units(groups, walk).into_iter().map(item).collect();
        let largest_first = |mut sizes: Vec<usize>| {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.truncate(r.prompts);
            sizes
        };
        let full = largest_first(groups.iter().map(|group| tokens(group)).collect());
        let prompts = largest_first(groups.iter().map(|group| group[0].prompt.1).collect());
        let minibatch = minibatch_size(items.len() / groups.len() * full.len(), walk.needs);
        let step_tokens = full.iter().sum();
        self.step_tokens = self.step_tokens.max(step_tokens);
        let largest = largest_micro_batch(&items, minibatch, limit);
        let most = step_tokens.min(limit.max(self.longest_unit));
        self.batches.allow_for(largest.min(most));
        // the greedy answers to new prompts are no more than these
        let n_answers = prompts.len() * walk.n_samples;
        let sampling = SamplingMemory::of(&prompts, n_answers, r.max_new_tokens, r.max_rows);
        self.sampling = self.sampling.max(sampling);
    }
}
