//! Responses to one prompt with scores: every pair of different scores is a preference.

use super::collector::{Collector, Want};
use crate::Ask;
use std::cmp::Ordering;

/// The most responses to one prompt. Their pairs grow with the square.
const MAX_RESPONSES: usize = 256;

/// Adds the pairs of `scored`, responses and their scores. `compare`: the greater is the better;
/// None if two scores are not of one scale.
pub(super) fn add_pairs<S>(
    collector: &mut Collector,
    ask: &Ask,
    scored: &[(String, S)],
    compare: impl Fn(&S, &S) -> Option<Ordering>,
) {
    if scored.len() < 2 {
        collector.drop_row("fewer than two responses");
        return;
    }
    if scored.len() > MAX_RESPONSES {
        collector.drop_row("more than 256 responses");
        return;
    }
    if collector.want == Want::Prompts {
        collector.preference(ask.clone(), &scored[0].0, &scored[1].0);
        return;
    }
    for (i, (one, one_score)) in scored.iter().enumerate() {
        for (other, other_score) in &scored[i + 1..] {
            match compare(one_score, other_score) {
                Some(Ordering::Greater) => collector.preference(ask.clone(), one, other),
                Some(Ordering::Less) => collector.preference(ask.clone(), other, one),
                Some(Ordering::Equal) => collector.drop_row("pair with equal scores"),
                None => collector.drop_row("pair with scores on two scales"),
            }
        }
    }
}
