//! A run gone through by lengths alone: which forwards with graph its steps make. Batches and
//! minibatches are functions of the seed. Responses that will be drawn are taken at their longest,
//! and every prompt has the most samples that its method may draw.

use crate::config::Config;
use crate::data::Task;
use crate::minibatches::{minibatch_size, optimizer_steps};
use crate::pool::{self, ResponsePool};
use crate::row_source::{Pair, RowSource, batches};
use algorithms::Requirements;
use data::Cursor;
use models::{Packed, Sequence};
use planning::memory::{Batches, Drawing, Forward, micro_batch};
use std::rc::Rc;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepForecast {
    pub batches: Batches,
    pub optimiser_steps: usize,
    /// Packed tokens of the fullest step
    pub step_tokens: usize,
    /// Tokens of the longest that no micro-batch cuts: a row, or a whole group
    pub longest: usize,
    /// Tokens of the longest row
    pub longest_row: usize,
    /// Of what is learnt from
    pub drawing: Drawing,
    /// Different prompts that the run meets
    pub prompts: usize,
}

impl StepForecast {
    pub fn of(source: &RowSource, needs: &Requirements, config: &Config) -> Self {
        let mut forecast = Self::default();
        match source {
            RowSource::Prompts { tasks, .. } => forecast.of_rollouts(tasks, needs, config),
            RowSource::Pairs { pairs, .. } => forecast.of_pairs(pairs, needs, config),
            RowSource::Pool(pool) => forecast.of_pool(pool, needs, config),
        }
        forecast
    }

    fn of_rollouts(&mut self, tasks: &[Rc<Task>], needs: &Requirements, config: &Config) {
        let (r, room) = (&config.rollout, config.rollout.max_new_tokens);
        let rows = needs.max_samples + usize::from(needs.reference_answer);
        let mut met = vec![false; tasks.len()];
        let mut loader = batches(tasks.len(), config, Cursor::default());
        for step in 0..config.train.steps {
            let at = loader.next_batch();
            at.iter().for_each(|i| met[*i] = true);
            let prompts: Vec<&[u32]> = at.iter().map(|i| tasks[*i].ids.as_slice()).collect();
            let lens: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
            // the greedy answers to prompts that are new are no more
            let drawn = Drawing::of(&lens, lens.len() * needs.max_samples, room, r.max_rows);
            self.drawing = self.drawing.or(drawn);
            let answered = |prompt: &&[u32]| [prompt, vec![0; room].as_slice()].concat();
            let full: Vec<Vec<u32>> = prompts.iter().map(answered).collect();
            let mut units: Vec<Vec<Sequence>> = Vec::new();
            for (ids, prompt) in full.iter().zip(&prompts) {
                let group = vec![(ids.as_slice(), prompt.len()); rows];
                match needs.whole_groups {
                    true => units.push(group),
                    false => units.extend(group.into_iter().map(|row| vec![row])),
                }
            }
            self.step(step, &units, needs, config);
            // what is drawn is shorter or less, and fills a forward otherwise
            let full: usize = minibatch_tokens(&units, needs);
            self.batches.fill(full.min(config.train.micro_batch_tokens));
        }
        self.prompts = met.into_iter().filter(|met| *met).count();
    }

    fn of_pairs(&mut self, pairs: &[Pair], needs: &Requirements, config: &Config) {
        let rows: Vec<[Vec<u32>; 2]> = pairs
            .iter()
            .map(|(task, answers)| {
                answers
                    .each_ref()
                    .map(|a| [task.ids.as_slice(), a].concat())
            })
            .collect();
        let mut loader = batches(pairs.len(), config, Cursor::default());
        for step in 0..config.train.steps {
            let unit = |i: usize| -> Vec<Sequence> {
                let prompt_len = pairs[i].0.ids.len();
                let row = |ids| (ids, prompt_len);
                rows[i].iter().map(Vec::as_slice).map(row).collect()
            };
            let units: Vec<Vec<Sequence>> = loader.next_batch().into_iter().map(unit).collect();
            self.step(step, &units, needs, config);
        }
    }

    /// Rows of a pool come by weights that only its scores give: a batch is taken for a random one,
    /// and every row for one in use.
    fn of_pool(&mut self, pool: &ResponsePool, needs: &Requirements, config: &Config) {
        let (lens, r) = (pool.lens(config), &config.rollout);
        let n = lens.len();
        let mut rows = 0;
        for step in 0..config.train.steps {
            let taken = pool::rows_of_step(n, r.prompts, step, pool.needs().replacement);
            let updates = taken.div_ceil(minibatch_size(taken, needs));
            self.optimiser_steps += needs.epochs * updates;
            rows += needs.epochs * taken;
        }
        let mean = lens.iter().sum::<usize>() as f64 / n.max(1) as f64;
        let longest = lens.iter().copied().max().unwrap_or(0);
        let size = minibatch_size(r.prompts, needs);
        let largest = micro_batch(lens.iter().copied(), size, config.train.micro_batch_tokens);
        self.batches = Batches {
            tokens: (mean * rows as f64) as u64,
            largest: Forward {
                tokens: largest,
                pairs: largest * longest,
            },
        };
        self.step_tokens = micro_batch(lens, r.prompts, usize::MAX);
        (self.longest, self.longest_row) = (longest, longest);
        let prompts = pool.prompt_lens();
        self.drawing = Drawing::of(&prompts, pool.n_drawn(1), r.max_new_tokens, r.max_rows);
    }

    /// The forwards of one step over these units, which micro-batches do not cut.
    fn step(
        &mut self,
        step: usize,
        units: &[Vec<Sequence>],
        needs: &Requirements,
        config: &Config,
    ) {
        let of = |units: &[Vec<Sequence>]| Forward::of(&Packed::new(&units.concat()).layout());
        self.step_tokens = self.step_tokens.max(of(units).tokens);
        for unit in units {
            self.longest = self.longest.max(of(std::slice::from_ref(unit)).tokens);
            let rows = unit.iter().map(|(ids, _)| ids.len());
            self.longest_row = self.longest_row.max(rows.max().unwrap_or(0));
        }
        for minibatch in optimizer_steps(units.len(), needs, config.train.seed, step as u64) {
            self.optimiser_steps += 1;
            let units: Vec<Vec<Sequence>> =
                minibatch.into_iter().map(|i| units[i].clone()).collect();
            for range in models::micro_batches(&units, config.train.micro_batch_tokens) {
                self.batches.add(of(&units[range]));
            }
        }
    }
}

/// Most packed tokens of a minibatch of these units.
fn minibatch_tokens(units: &[Vec<Sequence>], needs: &Requirements) -> usize {
    let size = minibatch_size(units.len(), needs);
    let tokens = |units: &[Vec<Sequence>]| Packed::new(&units.concat()).ids.len();
    let mut each: Vec<usize> = units.chunks(1).map(tokens).collect();
    each.sort_unstable_by(|a, b| b.cmp(a));
    tokens(units).min(each.iter().take(size).sum())
}
