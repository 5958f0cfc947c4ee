//! The vocabulary head and the sampler's softmax.

use crate::support::*;
use candle_core::{D, Result, Tensor};
use criterion::Criterion;
use ops::reference;

pub fn all(c: &mut Criterion) {
    let head = random(VOCAB, WIDTH);
    for m in [32, 256] {
        let hidden = random_var(m, WIDTH);
        let targets: Vec<u32> = (0..m).map(|i| (i * 191) as u32).collect();
        let temperature = vec![1.0; m];
        let product = 2 * m * WIDTH * VOCAB;
        compare_with_backward(
            c,
            "token_scores",
            &format!("{m} labels"),
            (flops(product), flops(2 * product)),
            || Ok(ops::token_scores(&hidden, &head, &targets, &temperature)?.logp),
            || Ok(reference::token_scores(&hidden, &head, &targets, &temperature)?.logp),
        );
        let (p, q) = (random(m, WIDTH), random(m, WIDTH));
        compare(
            c,
            "compared_scores",
            &format!("{m} labels"),
            flops(2 * product),
            || Ok(ops::compared_scores(&p, &q, &head, &targets, &temperature)?.kl),
            || reference::compared_scores(&p, &q, &head, &targets, &temperature),
        );
    }
    softmax_weights(c);
}

fn softmax_weights(c: &mut Criterion) {
    let logits = (random(1, VOCAB) * 60.0)
        .and_then(|x| x.squeeze(0))
        .unwrap();
    let row = logits.to_vec1::<f32>().unwrap();
    let mut weights = Vec::new();
    compare(
        c,
        "softmax_weights",
        &format!("{VOCAB}"),
        bytes(2 * VOCAB),
        || {
            let sums = ops::softmax_weights(&row, 0.7, &mut weights);
            Ok(sums.map_or(0.0, |sums| sums.total() + sums.weighted))
        },
        || plain_weights(&logits),
    );
}

/// The sum of the weights and of weight·log weight.
fn plain_weights(logits: &Tensor) -> Result<f64> {
    let log = (logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)? / 0.7)?;
    let weights = log.exp()?;
    let weighted = (&weights * log)?.sum_all()?.to_scalar::<f32>()?;
    Ok(f64::from(weights.sum_all()?.to_scalar::<f32>()? + weighted))
}
