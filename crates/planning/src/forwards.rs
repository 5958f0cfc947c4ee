//! The forwards of a run, by the sizes of its rows. Its batches are a function of the seed, so
//! planning walks the loop's own: the first epochs, of which one represents those that follow.

use crate::rows::{Forward, RowSize, largest_first};
use data::{Cursor, Loader, Mixture};
use std::ops::Range;

/// Complete epochs that are walked. Runs of up to so many are planned from their own batches; of
/// longer runs the largest forward is bounded by all that the rows could make.
const WALKED_EPOCHS: usize = 4;

/// Rows that no micro-batch splits.
pub type Unit = Vec<RowSize>;
/// The units of an item of the data: a row, a pair, or a prompt with its responses.
pub type Group = Vec<Unit>;

/// How a training loop batches groups and splits their units into forward passes.
pub struct Cut<'a> {
    pub steps: usize,
    /// Groups of a step, and the seed of their order
    pub batch_size: usize,
    pub seed: u64,
    /// How often each group is visited in an epoch
    pub mixture: &'a Mixture,
    /// `(step, units)`: which units each optimiser step of a step of so many takes
    pub minibatches: &'a dyn Fn(usize, usize) -> Vec<Vec<usize>>,
    /// `train.micro_batch_tokens`
    pub limit: usize,
    /// Whether a prompt that neighbours share counts once towards the limit
    pub counts_packed: bool,
    /// Whether it is known before the run which rows meet, and how long they are. Otherwise they
    /// may be fewer or shorter, and split differently
    pub known: bool,
}

/// The forwards with a graph of a whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwards {
    pub optimiser_steps: usize,
    /// Tokens of all forwards
    pub tokens: u64,
    pub largest: Forward,
    /// Tokens of the longest of all units and rows
    pub longest_unit: usize,
    pub longest_row: usize,
    /// Packed tokens of the fullest step
    pub step_tokens: usize,
    /// Tokens of the prompts of the step that has the longest; empty where none are sampled for
    pub prompts: Vec<usize>,
    /// Whether some epochs were not walked
    pub extrapolated: bool,
}

impl Forwards {
    /// Of a run over so many groups: `group` makes that of a number.
    pub fn of(n_groups: usize, group: &dyn Fn(usize) -> Group, cut: &Cut) -> Self {
        let mut all = Self::default();
        for group in (0..n_groups).map(group) {
            let longest_row = group.iter().flatten().map(RowSize::tokens).max();
            all.longest_unit = all.longest_unit.max(longest(&group));
            all.longest_row = all.longest_row.max(longest_row.unwrap_or(0));
        }
        let loader = |cursor| Loader::new(cut.mixture, cut.batch_size, cut.seed, cursor);
        for (step, batch, times) in batches(cut.steps, loader) {
            let groups: Vec<Group> = batch.iter().map(|i| group(*i)).collect();
            all.add_step(step, times, &groups.iter().collect::<Vec<_>>(), cut);
            all.extrapolated |= times > 1;
        }
        if all.extrapolated {
            let groups: Vec<Group> = looked_at(n_groups, group).into_iter().map(group).collect();
            all.allow_for(&groups.iter().collect::<Vec<_>>(), cut);
        }
        all
    }

    /// Adds a step that the run takes `times` times.
    fn add_step(&mut self, step: usize, times: usize, groups: &[&Group], cut: &Cut) {
        let units: Vec<&Unit> = groups.iter().copied().flatten().collect();
        self.step_tokens = self.step_tokens.max(Forward::packed(&rows(&units)).tokens);
        for minibatch in (cut.minibatches)(step, units.len()) {
            self.optimiser_steps += times;
            let units: Vec<&Unit> = minibatch.iter().map(|i| units[*i]).collect();
            for forward in cut.forwards(&units) {
                let tokens = (forward.tokens as u64).saturating_mul(times as u64);
                self.tokens = self.tokens.saturating_add(tokens);
                self.largest = self.largest.max(forward);
            }
        }
        if !cut.known {
            self.allow_for(groups, cut);
        }
    }

    /// Makes `walked` steps represent all.
    pub fn represent(&mut self, steps: usize, walked: usize, groups: &[Group], cut: &Cut) {
        let scaled = |n: u64| (u128::from(n) * steps as u128 / walked as u128) as u64;
        self.tokens = scaled(self.tokens);
        self.optimiser_steps = scaled(self.optimiser_steps as u64) as usize;
        self.extrapolated = true;
        self.allow_for(&groups.iter().collect::<Vec<_>>(), cut);
    }

    /// Allows for any step that takes `batch_size` of these groups.
    pub fn allow_for(&mut self, groups: &[&Group], cut: &Cut) {
        let tokens = |rows: &[RowSize]| Forward::packed(rows).tokens;
        let fullest = groups.iter().map(|group| tokens(&group.concat())).collect();
        let fullest = largest_first(fullest, cut.batch_size);
        let step_tokens = fullest.iter().sum();
        self.step_tokens = self.step_tokens.max(step_tokens);

        // rows that may be shorter count nothing: all may fit together
        let counted = |unit: &Unit| usize::from(cut.known) * cut.counted(None, unit);
        let item = |unit: &Unit| (counted(unit), tokens(unit));
        let units = groups.iter().copied().flatten();
        let items: Vec<_> = units.clone().map(item).collect();
        let n_units = items.len() / groups.len() * fullest.len();
        let minibatch = (cut.minibatches)(0, n_units)[0].len();
        let most = step_tokens.min(cut.limit.max(longest(units)));
        let most = most.min(largest_micro_batch(&items, minibatch, cut.limit));
        let largest = &mut self.largest;
        if most > largest.tokens {
            largest.pairs = (largest.pairs * most).div_ceil(largest.tokens.max(1));
            largest.tokens = most;
        }

        let prompts = groups.iter().map(|group| group[0][0].prompt.1).collect();
        let prompts = largest_first(prompts, cut.batch_size);
        if prompts.iter().sum::<usize>() > self.prompts.iter().sum() {
            self.prompts = prompts;
        }
    }
}

impl Cut<'_> {
    /// The forwards of these units, in their order.
    pub(crate) fn forwards(&self, units: &[&Unit]) -> Vec<Forward> {
        let ranges = ops::micro_batches_by(units.len(), self.limit, |i, first| {
            let before = units[..i].last().filter(|_| !first);
            self.counted(before.and_then(|unit| unit.last()), units[i])
        });
        let forward = |range: Range<usize>| Forward::packed(&rows(&units[range]));
        ranges.into_iter().map(forward).collect()
    }

    /// Tokens that a unit counts towards the limit, where it follows the row `before`.
    fn counted(&self, before: Option<&RowSize>, unit: &[RowSize]) -> usize {
        if !self.counts_packed {
            return unit.iter().map(RowSize::tokens).sum();
        }
        let rows: Vec<RowSize> = before.into_iter().chain(unit).copied().collect();
        Forward::packed(&rows).tokens - before.map_or(0, RowSize::tokens)
    }
}

/// Of more groups than this, so many and the longest represent all.
pub(crate) const LOOKED_AT: usize = 100_000;

/// The numbers of the groups that represent all of `n`.
fn looked_at(n: usize, group: &dyn Fn(usize) -> Group) -> Vec<usize> {
    if n <= LOOKED_AT {
        return (0..n).collect();
    }
    let longest = (0..n).max_by_key(|number| longest(&group(*number)));
    let place = |i: usize| (i as u128 * n as u128 / LOOKED_AT as u128) as usize;
    longest
        .into_iter()
        .chain((0..LOOKED_AT).map(place))
        .collect()
}

/// Tokens of the longest unit.
pub(crate) fn longest<'a>(units: impl IntoIterator<Item = &'a Unit>) -> usize {
    let tokens = units.into_iter().map(|unit| Forward::packed(unit).tokens);
    tokens.max().unwrap_or(0)
}

fn rows(units: &[&Unit]) -> Vec<RowSize> {
    units.iter().copied().flatten().copied().collect()
}

/// The most tokens that a micro-batch of any `batch_size` of these items can hold. An item is what
/// it counts towards `limit`, which only a micro-batch of one item exceeds, and the tokens that it
/// holds.
///
/// ```
/// // two rows of 520 tokens never fit into 1,024
/// assert_eq!(planning::largest_micro_batch(&[(520, 520); 9], 4, 1024), 520);
/// assert_eq!(planning::largest_micro_batch(&[(520, 520), (30, 30), (20, 20)], 4, 1024), 570);
/// ```
pub fn largest_micro_batch(items: &[(usize, usize)], batch_size: usize, limit: usize) -> usize {
    let (mut counted, held): (Vec<usize>, Vec<usize>) = items.iter().copied().unzip();
    counted.sort_unstable();
    let mut left = Some(limit);
    let fits = |count: &&usize| {
        left = left.and_then(|left| left.checked_sub(**count));
        left.is_some()
    };
    let fit = counted.iter().take(batch_size).take_while(fits).count();
    let held = largest_first(held, items.len());
    let together: usize = held.iter().take(fit).sum();
    let density = |(count, held): &(usize, usize)| *held as f64 / (*count).max(1) as f64;
    let densest = items.iter().map(density).fold(0.0, f64::max);
    let longest = held.first().copied().unwrap_or(0);
    longest.max(together.min((limit as f64 * densest).ceil() as usize))
}

/// The batches of a run of `steps` steps that passes over its rows in epochs: the step, the rows,
/// and how often the run takes such a step. `loader` opens the run's own loader. Yields the batches
/// of the first four epochs, of which the first also represents all that follow, and those of the
/// last epoch where it ends early: at most five epochs, however many steps there are.
///
/// ```
/// let rows = data::Mixture::of_rows(10);
/// let loader = |cursor| data::Loader::new(&rows, 4, 1, cursor);
/// let batches: Vec<_> = planning::batches(3_000_001, loader).collect();
/// assert_eq!(batches.len(), 4 * 3 + 1);
/// assert_eq!(batches.iter().map(|(_, _, times)| times).sum::<usize>(), 3_000_001);
/// ```
pub fn batches(
    steps: usize,
    loader: impl Fn(Cursor) -> Loader,
) -> impl Iterator<Item = (usize, Vec<usize>, usize)> {
    let per_epoch = loader(Cursor::default()).batches_per_epoch().max(1);
    let (complete, left) = (steps / per_epoch, steps % per_epoch);
    let walked = complete.min(WALKED_EPOCHS);
    (0..walked).chain([complete]).flat_map(move |epoch| {
        let n = if epoch == complete { left } else { per_epoch };
        let times = if epoch == 0 { 1 + complete - walked } else { 1 };
        let mut loader = loader(Cursor { epoch, index: 0 });
        (0..n).map(move |i| (epoch * per_epoch + i, loader.next_batch(), times))
    })
}
