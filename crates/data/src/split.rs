//! Splits rows into training and held-out ones by prompt.

use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// Splits items into (training, held out). About the share `held_out` of the distinct keys is held
/// out, each with all its items, so no prompt is on both sides.
///
/// Deterministic in `seed` and independent of the order of the items. With a share above 0 and at
/// least two keys, neither side is empty.
///
/// ```
/// let rows = vec![(1, "a"), (2, "b"), (1, "c"), (3, "d")];
/// let (train, held_out) = data::split_by_key(rows, |row| row.0, 0.3, 7);
/// assert_eq!(train.len() + held_out.len(), 4);
/// assert!(train.iter().all(|row| held_out.iter().all(|other| other.0 != row.0)));
/// ```
pub fn split_by_key<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> u64,
    held_out: f64,
    seed: u64,
) -> (Vec<T>, Vec<T>) {
    let keys: BTreeSet<u64> = items.iter().map(&key).collect();
    let draw = |key: u64| run::stream(seed, "split", key, 0).random::<u64>();
    let drawn: BTreeMap<(u64, u64), u64> = keys.iter().map(|k| ((draw(*k), *k), *k)).collect();
    let n_held = match keys.len() {
        n if n < 2 || held_out <= 0.0 => 0,
        n => ((n as f64 * held_out).round() as usize).clamp(1, n - 1),
    };
    let held: BTreeSet<u64> = drawn.into_values().take(n_held).collect();
    items
        .into_iter()
        .partition(|item| !held.contains(&key(item)))
}

/// Counts held-out prompts that are also training prompts, each once, and warns on stderr if there
/// are any: an evaluation on them measures memorisation. Takes the keys of the rows of both sides.
pub fn report_shared(
    path: &Path,
    train: impl IntoIterator<Item = u64>,
    held_out: impl IntoIterator<Item = u64>,
) -> usize {
    let train: HashSet<u64> = train.into_iter().collect();
    let held_out: HashSet<u64> = held_out.into_iter().collect();
    let (n, n_shared) = (held_out.len(), held_out.intersection(&train).count());
    if n_shared > 0 {
        run::say!(
            "{}: {n_shared} of {n} held-out prompts are also training prompts and measure memorisation; remove them from data.eval_path",
            path.display()
        );
    }
    n_shared
}
