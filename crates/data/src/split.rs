//! Splits rows into training and held-out ones by prompt.

use rand::Rng;
use std::collections::HashSet;
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
    let held = held_out_keys(items.iter().map(&key), held_out, seed);
    items
        .into_iter()
        .partition(|item| !held.contains(&key(item)))
}

/// The keys that [`split_by_key`] holds out.
pub fn held_out_keys(
    keys: impl IntoIterator<Item = u64>,
    held_out: f64,
    seed: u64,
) -> HashSet<u64> {
    let mut keys: Vec<u64> = keys.into_iter().collect();
    keys.sort_unstable();
    keys.dedup();
    let n_held = n_held_out(keys.len(), held_out);
    if n_held == 0 {
        return HashSet::new();
    }
    let draw = |key: u64| run::stream(seed, "split", key, 0).random::<u64>();
    let mut drawn: Vec<(u64, u64)> = keys.into_iter().map(|key| (draw(key), key)).collect();
    drawn.select_nth_unstable(n_held - 1);
    drawn[..n_held].iter().map(|(_, key)| *key).collect()
}

/// How many of `n_keys` different keys the share `held_out` is.
pub fn n_held_out(n_keys: usize, held_out: f64) -> usize {
    match n_keys {
        n if n < 2 || held_out <= 0.0 => 0,
        n => ((n as f64 * held_out).round() as usize).clamp(1, n - 1),
    }
}

/// The number of held-out prompts that are also training prompts, and a warning: an evaluation on
/// them measures memorisation. `train`: the keys of the training prompts, ascending.
pub fn shared_note(
    path: &Path,
    train: &[u64],
    held_out: impl IntoIterator<Item = u64>,
) -> (usize, Option<String>) {
    let held_out: HashSet<u64> = held_out.into_iter().collect();
    let is_shared = |key: &&u64| train.binary_search(key).is_ok();
    let (n, n_shared) = (held_out.len(), held_out.iter().filter(is_shared).count());
    let note = (n_shared > 0).then(|| {
        format!(
            "{}: {n_shared} of {n} held-out prompts are also training prompts and measure \
             memorisation; remove them from data.eval_path",
            path.display()
        )
    });
    (n_shared, note)
}
