//! Responses to one prompt with scores: every pair of different scores is a preference.

use super::collector::{Collector, Want};
use crate::Ask;

/// Adds the pairs of `scored`, responses and their scores (the higher, the better).
pub(super) fn add_pairs(collector: &mut Collector, ask: &Ask, scored: &[(String, f64)]) {
    if scored.len() < 2 {
        collector.drop_row("fewer than two responses");
        return;
    }
    if collector.want == Want::Prompts {
        collector.preference(ask.clone(), &scored[0].0, &scored[1].0);
        return;
    }
    for (i, (one, one_score)) in scored.iter().enumerate() {
        for (other, other_score) in &scored[i + 1..] {
            if one_score > other_score {
                collector.preference(ask.clone(), one, other);
            } else if one_score < other_score {
                collector.preference(ask.clone(), other, one);
            } else {
                collector.drop_row("pair with equal scores");
            }
        }
    }
}
