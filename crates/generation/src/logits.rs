//! Drawing a token for each row in flight: the sampler is in `ops`, the random streams are here.

use crate::Sampling;
use crate::request::refuse;
use candle_core::Result;
use ops::{Drawn, Logits, SamplingRule};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

const NOT_FINITE: &str =
    "generation: the model's logits are not finite; its weights or adapter are broken";

/// One row's rule and random stream.
pub(crate) struct Hand<'a> {
    pub sampling: Sampling,
    pub rng: &'a mut ChaCha8Rng,
}

/// A token for each hand, from its row of the logits; from the only row, if there is one.
pub(crate) fn draw_rows(logits: &Logits, hands: Vec<Hand>) -> Result<Vec<Drawn>> {
    let rules: Vec<SamplingRule> = hands
        .into_iter()
        .map(|hand| rule(&hand.sampling, hand.rng))
        .collect();
    match logits.sample(&rules)?.into_iter().collect() {
        Some(drawn) => Ok(drawn),
        None => refuse(NOT_FINITE.into()),
    }
}

/// Draws one token from the logits of one row. Takes exactly one number from `rng`, none when greedy.
/// The rules are those of [`ops::sample_row`].
pub fn draw(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> Result<Drawn> {
    match ops::sample_row(logits, &rule(sampling, rng)) {
        Some(drawn) => Ok(drawn),
        None => refuse(NOT_FINITE.into()),
    }
}

fn rule(sampling: &Sampling, rng: &mut impl Rng) -> SamplingRule {
    SamplingRule {
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        u: match sampling.is_greedy() {
            true => 0.0,
            false => rng.random(),
        },
    }
}
