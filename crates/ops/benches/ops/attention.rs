//! Attention in training: sequences of one length, and samples that share a prompt.

use crate::support::*;
use criterion::Criterion;
use ops::{Ragged, reference};

pub fn all(c: &mut Criterion) {
    for (seqs, len) in [(8, 128), (4, 256), (1, 1024)] {
        let layout = Ragged::from_lens(&vec![len; seqs]);
        causal(c, &format!("{seqs} x {len}"), &layout);
    }
    let mut lens = vec![256];
    lens.extend([64; 8]);
    let mut parents = vec![None];
    parents.extend([Some(0); 8]);
    causal(
        c,
        "256 shared by 8 x 64",
        &Ragged::continued(&lens, parents),
    );
}

fn causal(c: &mut Criterion, size: &str, layout: &Ragged) {
    let n = layout.n_tokens();
    let (q, k, v) = (
        random_var(n, WIDTH),
        random_var(n, KV_WIDTH),
        random_var(n, KV_WIDTH),
    );
    // pairs of a query and a key that it sees
    let pairs: usize = layout.positions().iter().map(|p| *p as usize + 1).sum();
    let forward = 4 * WIDTH * pairs;
    compare_with_backward(
        c,
        "causal_attention",
        size,
        (flops(forward), flops(3 * forward)),
        || ops::causal_attention(&q, &k, &v, layout, attention_spec()),
        || reference::causal_attention(&q, &k, &v, layout, attention_spec()),
    );
}
