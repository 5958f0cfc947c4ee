//! One step of decoding: few rows against every weight, attention over cached rows, and writing
//! them. No graph.

use crate::support::*;
use candle_core::DType;
use criterion::{Criterion, Throughput};
use ops::reference;

/// Rows of a batch
const ROWS: [usize; 4] = [1, 8, 32, 128];
/// Cached positions of each row
const CACHED: usize = 128;

pub fn all(c: &mut Criterion) {
    for (k, out) in [(WIDTH, WIDTH), (WIDTH, FFN), (FFN, WIDTH), (WIDTH, VOCAB)] {
        linear(c, DType::F32, k, out);
        linear(c, DType::BF16, k, out);
    }
    cache(c);
}

/// In bytes of weights, f32 or bf16; plain candle widens bf16 first.
fn linear(c: &mut Criterion, dtype: DType, k: usize, out: usize) {
    let size = dtype.size_in_bytes() * k * out;
    // enough copies that the weights come from memory, as in a model
    let copies = (64 << 20) / size + 1;
    let weights: Vec<_> = (0..copies)
        .map(|_| random(out, k).to_dtype(dtype).expect("a copy"))
        .collect();
    for n in ROWS {
        let x = random(n, k);
        let (mut ours, mut plain) = (weights.iter().cycle(), weights.iter().cycle());
        compare(
            c,
            &format!("decode frozen_linear {}", dtype.as_str()),
            &format!("{n} x ({k} -> {out})"),
            Throughput::Bytes(size as u64),
            || ops::frozen_linear(&x, ours.next().expect("endless")),
            || {
                let w = plain.next().expect("endless").to_dtype(DType::F32)?;
                reference::frozen_linear(&x, &w)
            },
        );
    }
}

/// In bytes of the cached rows that are read or written.
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
            || ops::cached_attention(&q, &keys, &values, &spans, attention_spec()),
            || reference::cached_attention(&q, &keys, &values, &spans, attention_spec()),
        );
        let (src, at) = (random(n, KV_WIDTH), (0..n).map(|i| i * CACHED));
        let at: Vec<usize> = at.collect();
        compare(
            c,
            "scatter_rows",
            &format!("{n} rows"),
            bytes(2 * n * KV_WIDTH),
            || ops::scatter_rows(&keys, &at, &src),
            || reference::scatter_rows(&keys, &at, &src),
        );
    }
}
