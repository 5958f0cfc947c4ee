//! Rows form units that must stay together; units form minibatches, one optimiser step each; each
//! epoch shuffles them again. These are pure functions of sizes, settings and the seed, called by
//! the update and by planning. Minibatches are cut into micro-batches, within a token budget, by
//! [`models::micro_batches`].

use algorithms::Requirements;
use rand::seq::SliceRandom;

/// Rows that must stay in one micro-batch: each row alone, or with `whole_groups` all rows of a
/// prompt. `prompt_key`: one per row, a prompt's rows together.
pub(crate) fn units(prompt_key: &[u64], whole_groups: bool) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    for row in 0..prompt_key.len() {
        match units.last_mut() {
            Some(unit) if whole_groups && prompt_key[unit[0]] == prompt_key[row] => unit.push(row),
            _ => units.push(vec![row]),
        }
    }
    units
}

/// Units of one minibatch. Rounded up, which may leave fewer minibatches than
/// [`Requirements::minibatches`].
pub(crate) fn minibatch_size(n_units: usize, needs: &Requirements) -> usize {
    n_units.div_ceil(needs.minibatches).max(1)
}

/// The units of each optimiser step of RL step `step` (0-based), in order: [`Requirements::epochs`]
/// passes, each shuffled anew and split into minibatches.
pub(crate) fn optimizer_steps(
    n_units: usize,
    needs: &Requirements,
    seed: u64,
    step: u64,
) -> Vec<Vec<usize>> {
    let size = minibatch_size(n_units, needs);
    let pass = |epoch: usize| {
        let mut order: Vec<usize> = (0..n_units).collect();
        order.shuffle(&mut run::stream(seed, "minibatches", step, epoch as u64));
        let minibatches = order.chunks(size).map(|minibatch| {
            let mut minibatch = minibatch.to_vec();
            minibatch.sort_unstable();
            minibatch
        });
        minibatches.collect::<Vec<_>>()
    };
    (0..needs.epochs).flat_map(pass).collect()
}
