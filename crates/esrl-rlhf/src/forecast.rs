//! Dry run of an RL run from sequence lengths: the forwards that its steps make. Walks the loop's
//! own batches, units, minibatches and micro-batches. Responses yet to be sampled are placeholders
//! of the longest length, and every prompt gets the most samples that its method may draw.

use crate::config::Config;
use crate::minibatches;
use crate::row_source::{RowSource, batches};
use algorithms::Requirements;
use models::{Packed, Sequence};
use planning::{Batches, Forward, SamplingMemory, largest_micro_batch, visit_batches};

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

/// Rows that belong together: those of one prompt or of one pair, or a single row of a pool.
struct RowGroup {
    key: u64,
    /// 0: shares its prompt with no other row
    prompt_len: usize,
    rows: Vec<Vec<u32>>,
}

/// What decides how a step is cut.
struct Walk<'a> {
    needs: &'a Requirements,
    config: &'a Config,
    /// Most responses that are sampled for each prompt
    n_samples: usize,
    /// Whether the rows are known before the run
    known: bool,
    /// Whether rows are chosen by weights that only their scores give: any may meet
    weighted: bool,
}

impl StepForecast {
    pub fn of(source: &RowSource, needs: &Requirements, config: &Config) -> Self {
        let r = &config.rollout;
        let mut forecast = Self::default();
        let walk = Walk {
            needs,
            config,
            n_samples: match source {
                RowSource::Prompts { .. } => needs.max_samples,
                RowSource::Pool(_) | RowSource::Pairs { .. } => 0,
            },
            known: matches!(source, RowSource::Pairs { .. }),
            weighted: matches!(source, RowSource::Pool(_)),
        };
        match source {
            RowSource::Prompts { tasks, .. } => {
                let n = needs.max_samples + usize::from(needs.reference_answer);
                forecast.walk(tasks.len(), &walk, |i| {
                    let ids = [&tasks[i].ids, vec![0; r.max_new_tokens].as_slice()].concat();
                    RowGroup {
                        key: tasks[i].key,
                        prompt_len: tasks[i].ids.len(),
                        rows: vec![ids; n],
                    }
                });
            }
            RowSource::Pairs { pairs, .. } => forecast.walk(pairs.len(), &walk, |i| {
                let (task, answers) = &pairs[i];
                let row = |answer: &Vec<u32>| [task.ids.as_slice(), answer].concat();
                RowGroup {
                    key: i as u64,
                    prompt_len: task.ids.len(),
                    rows: answers.iter().map(row).collect(),
                }
            }),
            // only scores decide which rows a step takes: they are taken for random ones
            RowSource::Pool(pool) => {
                let lens = pool.lens(config);
                let n = match pool.needs().replacement {
                    // every batch is full
                    true => lens.len().next_multiple_of(r.prompts),
                    false => lens.len(),
                };
                forecast.walk(n, &walk, |i| RowGroup {
                    key: i as u64,
                    prompt_len: 0,
                    rows: vec![vec![0; lens[i % lens.len()]]],
                });
                forecast.longest_row = lens.into_iter().max().unwrap_or(0);
                forecast.longest_unit = forecast.longest_row;
                let prompts = pool.prompt_lens();
                forecast.sampling =
                    SamplingMemory::of(&prompts, pool.n_drawn(1), r.max_new_tokens, r.max_rows);
            }
        }
        forecast
    }

    fn walk(&mut self, n_groups: usize, walk: &Walk, group: impl Fn(usize) -> RowGroup) {
        let (r, steps) = (&walk.config.rollout, walk.config.train.steps);
        let loader = |cursor| batches(n_groups, walk.config, cursor);
        visit_batches(steps, loader, |step, batch, times| {
            self.extrapolated |= times > 1;
            let groups: Vec<RowGroup> = batch.iter().map(|i| group(*i)).collect();
            self.step(step, times, &groups, walk);
            // the greedy answers to new prompts are no more than these
            let prompts: Vec<usize> = groups.iter().map(|group| group.prompt_len).collect();
            let n_answers = prompts.len() * walk.n_samples;
            let sampling = SamplingMemory::of(&prompts, n_answers, r.max_new_tokens, r.max_rows);
            self.sampling = self.sampling.max(sampling);
        });
        if self.extrapolated || walk.weighted {
            self.allow_for_any_step(n_groups, walk, group);
        }
    }

    /// Allows for the largest step that the rows could make, in an epoch that was not walked.
    fn allow_for_any_step(
        &mut self,
        n_groups: usize,
        walk: &Walk,
        group: impl Fn(usize) -> RowGroup,
    ) {
        let (r, t) = (&walk.config.rollout, &walk.config.train);
        let (mut groups, mut units, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
        for group in (0..n_groups).map(group) {
            let rows = group
                .rows
                .iter()
                .map(|row| (row.as_slice(), group.prompt_len));
            let rows: Vec<Sequence> = rows.collect();
            let tokens = Packed::new(&rows).ids.len();
            match walk.needs.whole_groups {
                true => units.push((tokens, tokens)),
                false => units.extend(group.rows.iter().map(|row| (row.len(), row.len()))),
            }
            groups.push(tokens);
            prompts.push(group.prompt_len);
        }
        for sizes in [&mut groups, &mut prompts] {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes.truncate(r.prompts);
        }
        self.step_tokens = self.step_tokens.max(groups.iter().sum());
        let per_step = (units.len() / n_groups.max(1)) * groups.len();
        let minibatch = minibatches::minibatch_size(per_step, walk.needs);
        let largest = largest_micro_batch(&units, minibatch, t.micro_batch_tokens);
        self.batches.allow_for(largest.min(self.step_tokens));
        let n_answers = prompts.len() * walk.n_samples;
        let sampling = SamplingMemory::of(&prompts, n_answers, r.max_new_tokens, r.max_rows);
        self.sampling = self.sampling.max(sampling);
    }

    /// Adds a step that the run takes `times` times.
    fn step(&mut self, step: usize, times: usize, groups: &[RowGroup], walk: &Walk) {
        let Walk { needs, config, .. } = walk;
        let t = &config.train;
        let packed = |units: &[Vec<Sequence>]| Forward::of(&Packed::new(&units.concat()).layout());
        let (mut keys, mut rows) = (Vec::new(), Vec::new());
        for group in groups {
            for row in &group.rows {
                keys.push(group.key);
                rows.push((row.as_slice(), group.prompt_len));
                self.longest_row = self.longest_row.max(row.len());
            }
        }
        let units: Vec<Vec<Sequence>> = minibatches::units(&keys, needs.whole_groups)
            .into_iter()
            .map(|unit| unit.into_iter().map(|row| rows[row]).collect())
            .collect();
        let step_tokens = packed(&units).tokens;
        let mut unit_tokens: Vec<usize> = units.chunks(1).map(|unit| packed(unit).tokens).collect();
        for minibatch in minibatches::optimizer_steps(units.len(), needs, t.seed, step as u64) {
            self.optimiser_steps += times;
            let units: Vec<Vec<Sequence>> = minibatch.iter().map(|u| units[*u].clone()).collect();
            for range in models::micro_batches(&units, t.micro_batch_tokens) {
                self.batches.add(packed(&units[range]), times);
            }
        }
        unit_tokens.sort_unstable_by(|a, b| b.cmp(a));
        self.step_tokens = self.step_tokens.max(step_tokens);
        self.longest_unit = self
            .longest_unit
            .max(unit_tokens.first().copied().unwrap_or(0));
        // Rows yet to be sampled or chosen may be shorter or fewer, and split differently.
        if !walk.known {
            let size = minibatches::minibatch_size(units.len(), needs);
            let most: usize = unit_tokens.iter().take(size).sum();
            self.batches
                .allow_for(most.min(step_tokens).min(t.micro_batch_tokens));
        }
    }
}
