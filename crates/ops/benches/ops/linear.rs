//! Products with weights in training: frozen ones, with and without a low-rank part, and such as
//! are trained.

use crate::support::*;
use criterion::Criterion;
use ops::reference;

pub fn all(c: &mut Criterion) {
    for (k, out) in [(WIDTH, WIDTH), (WIDTH, FFN), (FFN, WIDTH)] {
        let size = format!("{TOKENS} x ({k} -> {out})");
        let (x, w) = (random_var(TOKENS, k), random(out, k));
        let full = 2 * TOKENS * k * out;
        compare_with_backward(
            c,
            "frozen_linear",
            &size,
            (flops(full), flops(2 * full)),
            || ops::frozen_linear(&x, &w),
            || reference::frozen_linear(&x, &w),
        );
        let trained = random_var(out, k);
        compare_with_backward(
            c,
            "linear",
            &size,
            (flops(full), flops(3 * full)),
            || ops::linear(&x, &trained),
            || x.matmul(&trained.t()?),
        );
        let (a, b) = (random_var(RANK, k), random_var(out, RANK));
        let low = 2 * TOKENS * RANK * (k + out);
        compare_with_backward(
            c,
            "lora_linear",
            &size,
            (flops(full + low), flops(2 * full + 3 * low)),
            || ops::lora_linear(&x, &x, &w, &a, &b, 2.0),
            || {
                let low = x.matmul(&a.t()?)?.matmul(&b.t()?)?;
                reference::frozen_linear(&x, &w)? + (low * 2.0)?
            },
        );
    }
}
