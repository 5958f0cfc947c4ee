//! Operations that are bound by memory.

use crate::support::*;
use criterion::Criterion;
use ops::{Ragged, Rotation, reference};

pub fn all(c: &mut Criterion) {
    rms_norm(c);
    rope(c);
    swiglu(c);
    residual_add(c);
}

fn rms_norm(c: &mut Criterion) {
    let (x, w) = (
        random_var(TOKENS, WIDTH),
        random(1, WIDTH).squeeze(0).unwrap(),
    );
    let n = TOKENS * WIDTH;
    compare_with_backward(
        c,
        "rms_norm",
        &format!("{TOKENS} x {WIDTH}"),
        (bytes(2 * n), bytes(5 * n)),
        || ops::rms_norm(&x, &w, 1e-5),
        || reference::rms_norm(&x, &w, 1e-5),
    );
}

fn rope(c: &mut Criterion) {
    let (x, table) = (random_var(TOKENS, WIDTH), random(TOKENS, HEAD_DIM / 2));
    let positions = Ragged::from_lens(&[TOKENS / 4; 4]).positions();
    let rotation = Rotation {
        tables: (&table, &table),
        positions: &positions,
        head_dim: HEAD_DIM,
    };
    let n = TOKENS * WIDTH;
    compare_with_backward(
        c,
        "rope",
        &format!("{TOKENS} x {WIDTH}"),
        (bytes(2 * n), bytes(4 * n)),
        || ops::rope(&x, rotation),
        || reference::rope(&x, rotation),
    );
}

fn swiglu(c: &mut Criterion) {
    let (gate, up) = (random_var(TOKENS, FFN), random_var(TOKENS, FFN));
    let n = TOKENS * FFN;
    compare_with_backward(
        c,
        "swiglu",
        &format!("{TOKENS} x {FFN}"),
        (bytes(3 * n), bytes(8 * n)),
        || ops::swiglu(&gate, &up),
        || reference::swiglu(&gate, &up),
    );
}

/// Candle's own in the model too: a yardstick for the others.
fn residual_add(c: &mut Criterion) {
    let (x, y) = (random(TOKENS, WIDTH), random(TOKENS, WIDTH));
    let mut group = c.benchmark_group("residual add");
    group.throughput(bytes(3 * TOKENS * WIDTH));
    let size = format!("{TOKENS} x {WIDTH} forward/candle");
    group.bench_function(size, |b| b.iter(|| (&x + &y).unwrap()));
    group.finish();
}
