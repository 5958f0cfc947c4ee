//! Speeds of the operations at the shapes of SmolLM2-135M, each beside its plain candle
//! composition: `make bench-ops`, or `cargo bench -p ops -- rms_norm`.
//!
//! Operations that multiply matrices are given in floating-point operations (`Gelem/s` is GFLOP/s),
//! others in the bytes that must be read and written. A gradient is counted as the work that it
//! needs, not as what a form computes again or in vain.

mod attention;
mod decode;
mod element_wise;
mod head;
mod linear;
mod support;

use criterion::{criterion_group, criterion_main};

criterion_group! {
    name = ops;
    config = support::settings();
    targets = element_wise::all, attention::all, linear::all, head::all, decode::all
}
criterion_main!(ops);
