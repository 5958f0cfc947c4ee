//! The fused decoding step against the operations that it consists of, and its thread pool.

use super::{f32s, tables};
use candle_core::{DType, Device, Result, Tensor};
use ops::step::{Norm, Projection, Rotation};
use ops::{AttentionSpec, Compute, SpinPool};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::{assert_close, values};

const SCALE: f64 = 1.5;

/// A weight [out, in] as f32, bf16, 8 bits or quantised blocks of 32, which are multiplied in f32
/// or as integers; a pair A [3, in], B [out, 3]; and, for every second seed, a bias `[out]`.
struct Weights {
    weight: Tensor,
    bias: Option<Tensor>,
    pair: (Tensor, Tensor),
    compute: Compute,
}

impl Weights {
    fn new(out: usize, input: usize, kind: usize, seed: u64) -> Self {
        let weight = f32s(&[out, input], seed, 0.3);
        let weight = match kind {
            0 => weight,
            1 => weight.to_dtype(DType::BF16).unwrap(),
            2 => ops::in_8_bits(&weight).unwrap(),
            _ => ops::QuantisedBlocks::Q4_0.round(&weight).unwrap(),
        };
        let pair = (
            f32s(&[3, input], seed + 1, 0.3),
            f32s(&[out, 3], seed + 2, 0.3),
        );
        let bias = seed.is_multiple_of(2).then(|| f32s(&[out], seed + 3, 0.3));
        let compute = if kind == 4 {
            Compute::Int16
        } else {
            Compute::F32
        };
        Self {
            weight,
            bias,
            pair,
            compute,
        }
    }

    fn projection(&self, adapted: bool) -> Projection<'_> {
        Projection {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            lora: adapted.then_some((&self.pair.0, &self.pair.1)),
            scale: SCALE,
            compute: self.compute,
        }
    }

    fn plain(&self, x: &Tensor, adapted: bool) -> Result<Tensor> {
        let (a, b) = &self.pair;
        let y = match adapted {
            true => self.compute.lora_linear(x, x, &self.weight, a, b, SCALE)?,
            false => self.compute.frozen_linear(x, &self.weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

#[test]
fn a_step_equals_its_operations_one_after_the_other() -> Result<()> {
    // more and fewer rows than products pack for; widths that are not multiples of a vector;
    // grouped heads
    for (n, d, head_dim) in [
        (1, 40, 10),
        (3, 64, 16),
        (7, 96, 64),
        (30, 37, 2),
        (61, 64, 16),
    ] {
        // steps of many sequences are f32
        let kinds = if d % 32 == 0 {
            4 + usize::from(n < 57)
        } else {
            3
        };
        for kind in 0..kinds {
            let f = d + if kind >= 3 { 32 } else { 11 };
            let x = f32s(&[n, d], 1, 1.0);
            let gain = f32s(&[d], 2, 1.0);
            let norm = Norm {
                weight: &gain,
                eps: 1e-5,
            };
            let (cos, sin) = tables(50, head_dim);
            let (cos, sin) = (cos.to_dtype(DType::F32)?, sin.to_dtype(DType::F32)?);
            let positions: Vec<u32> = (0..n as u32).map(|i| i * 7 % 50).collect();
            let heads = [6, 2, 2].map(|heads| heads * head_dim);
            let qkv = [0, 1, 2].map(|i| Weights::new(heads[i], d, kind, 10 + 3 * i as u64));
            let [o, gate] = [20, 30].map(|seed| Weights::new(f, d, kind, seed));
            let (up, back) = (Weights::new(f, d, kind, 40), Weights::new(d, f, kind, 50));
            let name = |what: &str| format!("{what} n {n} d {d} kind {kind}");

            let h = ops::rms_norm(&x, &gain, 1e-5)?;
            let rotation = Rotation {
                tables: (&cos, &sin),
                positions: &positions,
                head_dim,
            };
            let projections = [
                qkv[0].projection(true),
                qkv[1].projection(false),
                qkv[2].projection(true),
            ];
            let found =
                SpinPool::at_work(|pool| pool.heads(&x, norm, projections, None, rotation))?;
            let rope = |x: Tensor| ops::rope(&x, rotation);
            let wanted = [
                rope(qkv[0].plain(&h, true)?)?,
                rope(qkv[1].plain(&h, false)?)?,
                qkv[2].plain(&h, true)?,
            ];
            for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                assert_close(&name(["q", "k", "v"][i]), found, wanted, 1e-5);
            }

            for adapted in [false, true] {
                let wide = f32s(&[n, f], 3, 1.0);
                let found =
                    SpinPool::at_work(|pool| pool.add(&x, &wide, back.projection(adapted)))?;
                let wanted = (&x + back.plain(&wide, adapted)?)?;
                assert_close(&name("add"), &found, &wanted, 1e-5);

                let projections = (gate.projection(adapted), up.projection(!adapted));
                let found =
                    SpinPool::at_work(|pool| pool.gated(&x, norm, projections.0, projections.1))?;
                let wanted = ops::swiglu(&gate.plain(&h, adapted)?, &up.plain(&h, !adapted)?)?;
                assert_close(&name("gated"), &found, &wanted, 1e-5);
            }
            let misfit = SpinPool::at_work(|pool| pool.add(&x, &x, o.projection(false)));
            let error = misfit.unwrap_err().to_string();
            assert!(error.starts_with("add: x is "), "{error}");
        }
    }
    Ok(())
}

#[test]
fn heads_are_normed_and_partly_rotated_with_the_bits_of_single_operations() -> Result<()> {
    for (n, head_dim, rotated) in [(1, 10, 10), (3, 64, 48), (30, 35, 2), (61, 64, 64)] {
        let (x, gain) = (f32s(&[n, 40], 1, 1.0), f32s(&[40], 2, 1.0));
        let norm = Norm {
            weight: &gain,
            eps: 1e-5,
        };
        let weights = [5, 2, 2].map(|heads| Weights::new(heads * head_dim, 40, 0, 10));
        let projections = || weights.each_ref().map(|weights| weights.projection(true));
        let positions: Vec<u32> = (0..n as u32).map(|i| i * 7 % 50).collect();
        let (cos, sin) = tables(50, rotated);
        let (cos, sin) = (cos.to_dtype(DType::F32)?, sin.to_dtype(DType::F32)?);
        let rotation = |cos, sin| Rotation {
            tables: (cos, sin),
            positions: &positions,
            head_dim,
        };
        let heads = |head_norms, rotation| {
            SpinPool::at_work(|pool| pool.heads(&x, norm, projections(), head_norms, rotation))
        };
        let gains = [3, 4].map(|seed| f32s(&[head_dim], seed, 1.0));
        let head_norms = [(&gains[0], 1e-5), (&gains[1], 0.1)];
        let found = heads(
            Some(head_norms.map(|(weight, eps)| Norm { weight, eps })),
            rotation(&cos, &sin),
        )?;

        let (ones, zeros) = (cos.ones_like()?, sin.zeros_like()?);
        let plain = heads(None, rotation(&ones, &zeros))?;
        for (i, (weight, eps)) in head_norms.into_iter().enumerate() {
            let rows = plain[i].reshape(((), head_dim))?;
            let normed = ops::rms_norm(&rows, weight, eps)?.reshape(plain[i].shape())?;
            let wanted = ops::rope(&normed, rotation(&cos, &sin))?;
            assert_eq!(
                values(&found[i]),
                values(&wanted),
                "{i} of {n} x {head_dim}"
            );
        }
        assert_eq!(values(&found[2]), values(&plain[2]));

        let narrow = head_norms.map(|(_, eps)| Norm { weight: &gain, eps });
        let misfit = heads(Some(narrow), rotation(&cos, &sin)).unwrap_err();
        let wanted = format!("a norm of heads is [40] but a head has {head_dim}");
        assert!(misfit.to_string().contains(&wanted), "{misfit}");
    }
    Ok(())
}

#[test]
fn a_row_does_not_depend_on_the_other_rows_of_the_kernel() -> Result<()> {
    let (weights, x) = (Weights::new(100, 48, 1, 1), f32s(&[9, 48], 2, 1.0));
    let zeros = |n| Tensor::zeros((n, 100), DType::F32, &Device::Cpu);
    let of = |x: &Tensor| -> Result<Tensor> {
        let zeros = zeros(x.dim(0)?)?;
        SpinPool::at_work(|pool| pool.add(&zeros, x, weights.projection(false)))
    };
    let all = of(&x)?;
    for (row, some) in [(0, 1), (4, 2), (2, 7)] {
        let found = of(&x.narrow(0, row, some)?)?;
        assert_eq!(values(&found), values(&all.narrow(0, row, some)?));
    }
    Ok(())
}

#[test]
fn attention_by_a_pool_equals_cached_attention() -> Result<()> {
    let q = f32s(&[3, 48], 1, 2.0);
    let (keys, values_) = (f32s(&[200, 16], 2, 2.0), f32s(&[200, 16], 3, 1.0));
    let spec = AttentionSpec::new(6, 2, 8);
    let spans = [vec![(0, 1)], vec![(5, 70), (100, 67)], vec![(190, 10)]];
    let found = SpinPool::at_work(|pool| pool.attend(&q, &keys, &values_, &spans, spec))?;
    let wanted = ops::cached_attention(&q, &keys, &values_, &spans, spec)?;
    assert_eq!(values(&found), values(&wanted));
    Ok(())
}

#[test]
fn a_pool_runs_each_task_once_before_the_next_job() {
    SpinPool::at_work(|pool| {
        for job in 0..2000 {
            let n = job % 37;
            let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            pool.each(n, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 1)
            );
        }
    });
}

#[test]
fn a_panic_in_a_task_is_resumed_after_the_other_tasks() {
    let done = Mutex::new(Vec::new());
    let outcome = std::panic::catch_unwind(|| {
        SpinPool::at_work(|pool| {
            pool.each(20, |i| {
                assert!(i != 7, "task seven");
                done.lock().unwrap().push(i);
            });
        });
    });
    let panic = outcome.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"task seven"));
    let mut done = done.into_inner().unwrap();
    done.sort_unstable();
    assert_eq!(done, (0..20).filter(|i| *i != 7).collect::<Vec<_>>());
}

#[test]
fn concurrent_pools_all_finish() {
    // more leaders than threads: each must finish with the helpers that it gets
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let sum = AtomicUsize::new(0);
                SpinPool::at_work(|pool| {
                    for _ in 0..200 {
                        pool.each(50, |i| {
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                    }
                });
                assert_eq!(sum.into_inner(), 200 * 1225);
            });
        }
    });
}
