//! One step of decoding: few rows against every weight, attention over cached rows, and writing them. No graph.

use crate::support::*;
use criterion::Criterion;
use ops::composed;

/// Rows of a batch
const ROWS: [usize; 4] = [1, 8, 32, 128];
/// Cached positions of each row
const CACHED: usize = 128;

pub fn all(c: &mut Criterion) {
    for (k, out) in [(WIDTH, WIDTH), (WIDTH, FFN), (FFN, WIDTH), (WIDTH, VOCAB)] {
        linear(c, k, out);
    }
    cache(c);
}

/// In bytes of weights.
fn linear(c: &mut Criterion, k: usize, out: usize) {
    // as many copies as make the weights come from memory, as they do in a model
    let copies = (64 << 20) / (4 * k * out) + 1;
    let weights: Vec<_> = (0..copies).map(|_| random(out, k)).collect();
    for n in ROWS {
        let x = random(n, k);
        let (mut ours, mut plain) = (weights.iter().cycle(), weights.iter().cycle());
        compare(
            c,
            "decode frozen_linear",
            &format!("{n} x ({k} -> {out})"),
            bytes(k * out),
            || ops::frozen_linear(&x, ours.next().expect("endless")),
            || composed::frozen_linear(&x, plain.next().expect("endless")),
        );
    }
}

/// In bytes of the cached rows that are read, or written.
fn cache(c: &mut Criterion) {
    for n in ROWS {
        let (keys, values) = (random(n * CACHED, KV_WIDTH), random(n * CACHED, KV_WIDTH));
        let q = random(n, WIDTH);
        let spans: Vec<_> = (0..n).map(|i| vec![(i * CACHED, CACHED)]).collect();
        compare(
            c,
            "cached_attention",
            &format!("{n} rows over {CACHED}"),
            bytes(2 * n * CACHED * KV_WIDTH),
            || ops::cached_attention(&q, &keys, &values, &spans, HEAD_DIM),
            || composed::cached_attention(&q, &keys, &values, &spans, HEAD_DIM),
        );
        let (src, at) = (random(n, KV_WIDTH), (0..n).map(|i| i * CACHED));
        let at: Vec<usize> = at.collect();
        compare(
            c,
            "scatter_rows",
            &format!("{n} rows"),
            bytes(2 * n * KV_WIDTH),
            || ops::scatter_rows(&keys, &at, &src),
            || composed::scatter_rows(&keys, &at, &src),
        );
    }
}
