//! Draws a token for each row in flight. The sampler is in `ops`, the random streams are here.

use crate::Sampling;
use crate::request::refuse;
use candle_core::Result;
use ops::{Drawn, Logits, SamplingRule};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

const NOT_FINITE: &str =
    "generation: the model's logits are not finite; its weights or adapter are broken";

/// One row's rule and random stream.
pub(crate) struct RowDraw<'a> {
    pub sampling: Sampling,
    pub rng: &'a mut ChaCha8Rng,
}

/// One token for each of `rows`, from its row of the logits. If there is only one row of logits,
/// all draw from it.
pub(crate) fn draw_rows(logits: &Logits, rows: Vec<RowDraw>) -> Result<Vec<Drawn>> {
    let rules: Vec<SamplingRule> = rows
        .into_iter()
        .map(|row| rule(&row.sampling, row.rng))
        .collect();
    match logits.sample(&rules)?.into_iter().collect() {
        Some(drawn) => Ok(drawn),
        None => refuse(NOT_FINITE.into()),
    }
}

/// Draws one token from the logits of one row. Takes exactly one number from `rng`, none when
/// greedy. The rules are those of [`ops::sample_row`]. Logits that are not finite are an error.
///
/// ```
/// use generation::{Sampling, draw};
///
/// let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
/// let mut rng = run::stream(7, "example", 0, 0);
/// let drawn = draw(&[0.0, 2.0, 1.0], &greedy, &mut rng)?;
/// assert_eq!(drawn.id, 1);
/// # Ok::<(), candle_core::Error>(())
/// ```
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
