//! Attention in training: sequences of one length, a window, and samples that share a prompt.

use crate::support::*;
use criterion::Criterion;
use ops::{Ragged, reference};

pub fn all(c: &mut Criterion) {
    for (seqs, len) in [(8, 128), (4, 256), (1, 1024)] {
        let layout = Ragged::from_lens(&vec![len; seqs]);
        causal(c, &format!("{seqs} x {len}"), &layout, None);
    }
    let long = Ragged::from_lens(&[1024]);
    causal(c, "1 x 1024, window 128", &long, Some(128));
    let mut lens = vec![256];
    lens.extend([64; 8]);
    let mut parents = vec![None];
    parents.extend([Some(0); 8]);
    causal(
        c,
        "256 shared by 8 x 64",
        &Ragged::continued(&lens, parents),
        None,
    );
}

fn causal(c: &mut Criterion, size: &str, layout: &Ragged, window: Option<usize>) {
    let (n, spec) = (layout.n_tokens(), attention_spec().with_window(window));
    let (q, k, v) = (
        random_var(n, WIDTH),
        random_var(n, KV_WIDTH),
        random_var(n, KV_WIDTH),
    );
    // pairs of a query and a key that it sees
    let seen = |p: &u32| *p as usize + 1 - spec.first_key(*p as usize);
    let pairs: usize = layout.positions().iter().map(seen).sum();
    let forward = 4 * WIDTH * pairs;
    compare_with_backward(
        c,
        "causal_attention",
        size,
        (flops(forward), flops(3 * forward)),
        || ops::causal_attention(&q, &k, &v, layout, spec),
        || reference::causal_attention(&q, &k, &v, layout, spec),
    );
}
