//! Held-out split by prompt.

use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// (training, held out): about `held_out` of the distinct keys with all their items, so that a prompt is never on both
/// sides. Deterministic in `seed`, independent of the items' order. With a share above 0 and two keys or more, neither
/// side is empty.
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

/// Held-out rows whose prompt is a training prompt, too: counted, and said on stderr. Evaluations would praise what was learnt
/// by heart.
pub fn report_shared(
    path: &Path,
    train: impl IntoIterator<Item = u64>,
    held_out: impl IntoIterator<Item = u64>,
) -> usize {
    let train: HashSet<u64> = train.into_iter().collect();
    let (mut n, mut n_shared) = (0, 0);
    for key in held_out {
        n += 1;
        n_shared += usize::from(train.contains(&key));
    }
    if n_shared > 0 {
        eprintln!(
            "{}: {n_shared} of {n} held-out prompts are training prompts, too, and measure memory; take them out of data.eval_path",
            path.display()
        );
    }
    n_shared
}
