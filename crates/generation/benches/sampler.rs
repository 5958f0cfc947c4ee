//! Speed of the sampler on one row of SmolLM2-135M's logits: `make bench-ops`, or
//! `cargo bench -p generation`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use generation::{Sampling, draw};
use rand::Rng;
use std::time::Duration;

const VOCAB: usize = 49_152;

fn sampler(c: &mut Criterion) {
    let mut rng = run::stream(1, "bench sampler", 0, 0);
    let logits: Vec<f32> = (0..VOCAB).map(|_| rng.random_range(-10.0..10.0)).collect();
    let mut group = c.benchmark_group("sampler");
    group.throughput(Throughput::Elements(1));
    for (name, temperature, top_k, top_p) in [
        ("greedy", 0.0, 0, 1.0),
        ("whole", 1.0, 0, 1.0),
        ("top-k 50", 1.0, 50, 1.0),
        ("top-p 0.9", 1.0, 0, 0.9),
    ] {
        let sampling = Sampling {
            temperature,
            top_k,
            top_p,
            ..Sampling::default()
        };
        group.bench_function(name, |b| {
            b.iter(|| draw(&logits, &sampling, &mut rng).unwrap())
        });
    }
    group.finish();
}

criterion_group! {
    name = generation;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = sampler
}
criterion_main!(generation);
