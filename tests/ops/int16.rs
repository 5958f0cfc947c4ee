//! Products of frozen weights in 16-bit integers: their error beside that of bf16, what is exact,
//! and that no thread and no instruction set changes them.

use super::{f32s, stacked, targets, temperatures};
use candle_core::{DType, Device, Result, Tensor, Var};
use ops::Compute::{F32, Int16};
use ops::{Compute, QuantisedBlocks, reference};
use testkit::{assert_close, golden_tensors, gradients, values, varied};

/// Rows, depth and columns: whole and cut blocks, tiles of 8, 4, 2 and 1 rows, of 1 to 3 vectors.
const SIZES: [(usize, usize, usize); 7] = [
    (64, 37, 50),
    (70, 129, 49),
    (57, 128, 16),
    (59, 255, 7),
    (100, 300, 100),
    (300, 576, 192),
    (65, 1, 33),
];

/// ‖found − wanted‖ / ‖wanted‖
fn error(found: &Tensor, wanted: &Tensor) -> f64 {
    let (found, wanted) = (values(found), values(wanted));
    assert_eq!(found.len(), wanted.len());
    let pairs = || found.iter().zip(&wanted);
    let difference: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = wanted.iter().map(|x| x * x).sum();
    (difference / size.max(f64::MIN_POSITIVE)).sqrt()
}

/// Normal numbers, a hundredth of them 30 times as large, as the activations of real models.
fn with_outliers(shape: &[usize], seed: u64) -> Tensor {
    let plain = values(&varied(shape, seed, 1.0));
    let spiked = plain.iter().enumerate();
    let spiked = spiked.map(|(i, x)| if i % 101 == 7 { 30.0 * x } else { *x });
    Tensor::from_vec(spiked.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

fn rounded(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::BF16)?.to_dtype(DType::F64)
}

#[test]
fn forward_and_backward_are_more_exact_than_bf16() {
    for (m, k, n) in SIZES {
        for plain in [true, false] {
            let x = match plain {
                true => varied(&[m, k], 1, 1.0),
                false => with_outliers(&[m, k], 1),
            };
            let weight = varied(&[n, k], 2, 0.05).to_dtype(DType::BF16).unwrap();
            let wide = weight.to_dtype(DType::F64).unwrap();
            let inputs = [x];
            let run = |x: &[Tensor]| Int16.frozen_linear(&x[0], &weight);
            let (y, dx) = gradients(run, &inputs, DType::F32).unwrap();
            let exact = |x: &[Tensor]| reference::frozen_linear(&x[0], &wide);
            let (y64, dx64) = gradients(exact, &inputs, DType::F64).unwrap();
            let bf16 = reference::frozen_linear(&rounded(&inputs[0]).unwrap(), &wide).unwrap();
            let (ours, theirs) = (error(&y, &y64), error(&bf16, &y64));
            assert!(
                ours < if plain { 0.25 } else { 0.6 } * theirs.max(1e-3),
                "{m}x{k}x{n}: {ours:e}, {theirs:e}"
            );
            let ours = error(&dx[0], &dx64[0]);
            assert!(ours < 5e-4, "gradient of {m}x{k}x{n}: {ours:e}");
        }
    }
}

#[test]
fn every_operation_equals_the_one_of_f32_but_for_the_rounding() {
    let (m, k, n, r) = (80, 200, 130, 4);
    let w = f32s(&[n, k], 3, 0.1).to_dtype(DType::BF16).unwrap();
    let of = |compute: Compute, what: &str| {
        let inputs = match what {
            "added" => vec![varied(&[m, k], 4, 1.0), varied(&[m, n], 5, 1.0)],
            "lora" => vec![
                varied(&[m, k], 4, 1.0),
                varied(&[r, k], 6, 0.1),
                varied(&[n, r], 7, 0.1),
            ],
            _ => vec![varied(&[m, k], 4, 1.0)],
        };
        let (ids, warmth) = (targets(m, n), temperatures(m));
        let f = |x: &[Tensor]| match what {
            "added" => compute.added_linear(&x[1], &x[0], &w),
            "lora" => compute.lora_linear(&x[0], &x[0], &w, &x[1], &x[2], 1.5),
            "scores" => stacked(compute.token_scores(&x[0], &w, &ids, &warmth)?),
            _ => compute.frozen_linear(&x[0], &w),
        };
        let (y, grads) = gradients(f, &inputs, DType::F32).unwrap();
        [vec![y], grads].concat()
    };
    for what in ["frozen", "added", "lora", "scores"] {
        let pairs = of(Int16, what).into_iter().zip(of(F32, what));
        for (i, (found, wanted)) in pairs.enumerate() {
            let error = error(&found, &wanted);
            // the gradients of A, B and of the residual do not pass a frozen weight
            let exact = matches!((what, i), ("added", 2) | ("lora", 2 | 3));
            assert_eq!(error > 0.0, !exact, "{what} {i}: {error:e}");
            assert!(error < 1e-3, "{what} {i}: {error:e}");
        }
    }
    let (p, q) = (f32s(&[m, k], 8, 1.0), f32s(&[m, k], 9, 1.0));
    let (ids, warmth) = (targets(m, n), temperatures(m));
    let kl = |compute: Compute| compute.compared_scores(&p, &q, &w, &ids, &warmth).unwrap();
    let (found, wanted) = (kl(Int16), kl(F32));
    for (found, wanted) in [
        (&found.kl, &wanted.kl),
        (&found.p.logp, &wanted.p.logp),
        (&found.q.entropy, &wanted.q.entropy),
    ] {
        assert!(error(found, wanted) < 2e-3);
    }
    // the scores of one model are those of its comparison, to the bit
    let alone = Int16.token_scores(&p, &w, &ids, &warmth).unwrap();
    assert_close("logp", &alone.logp, &found.p.logp, 0.0);
}

#[test]
fn few_rows_times_blocks_are_f32_but_for_the_last_digits() {
    let golden = golden_tensors("blocks.safetensors");
    for format in [
        QuantisedBlocks::Q8_0,
        QuantisedBlocks::Q4_0,
        QuantisedBlocks::Q4_1,
    ] {
        let w = &golden[&format!("{}.bytes", format.name())];
        let k = ops::widened(w).unwrap().dim(1).unwrap();
        for n in 1..=5 {
            for (x, most) in [
                (varied(&[n, k], 4, 1.0), 1e-4),
                (with_outliers(&[n, k], 4), 3e-4),
            ] {
                let x = x.to_dtype(DType::F32).unwrap();
                let of = |compute: Compute| compute.frozen_linear(&x, w).unwrap();
                let error = error(&of(Int16), &of(F32));
                // five rows widen the weight
                assert_eq!(error > 0.0, n < 5, "{} {n}", format.name());
                assert!(error < most, "{} {n}: {error:e}", format.name());
            }
        }
        let x = (f32s(&[1, k], 4, 1.0) * f64::NAN).unwrap();
        let y = Int16.frozen_linear(&x, w).unwrap();
        assert!(values(&y).iter().all(|y| y.is_nan()));
    }
}

#[test]
fn few_rows_times_bf16_are_f32() {
    let w = f32s(&[40, 64], 3, 0.1).to_dtype(DType::BF16).unwrap();
    let x = f32s(&[8, 64], 4, 1.0);
    let (found, wanted) = (
        Int16.frozen_linear(&x, &w).unwrap(),
        F32.frozen_linear(&x, &w).unwrap(),
    );
    assert_close("y", &found, &wanted, 0.0);
}

/// One row of x is a unit vector, so the product is a column of the weights.
#[test]
fn weights_of_bf16_within_a_sixteenth_of_the_largest_are_exact() {
    let numbers: Vec<f32> = (0..64 * 128)
        .map(|i| (1.0 + (i % 128) as f32 / 128.0) * 2f32.powi(i % 4 - 9))
        .collect();
    let w = Tensor::from_vec(numbers, (64, 128), &Device::Cpu).unwrap();
    let eye = Tensor::eye(128, DType::F32, &Device::Cpu).unwrap();
    let y = Int16.frozen_linear(&eye, &w.to_dtype(DType::BF16).unwrap());
    let wanted = w.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32);
    assert_close("w", &y.unwrap().t().unwrap(), &wanted.unwrap(), 2e-7);
}

#[test]
fn what_is_not_finite_is_seen_and_zeros_stay_zeros() {
    let w = f32s(&[20, 300], 3, 0.1);
    for (bad, is_nan) in [
        (f32::NAN, true),
        (f32::INFINITY, true),
        (1e38, false),
        (0.0, false),
    ] {
        let mut numbers = vec![vec![0.5f32; 300]; 80];
        numbers[7] = vec![0.0; 300];
        numbers[7][200] = bad;
        let x = Tensor::new(numbers, &Device::Cpu).unwrap();
        let y = Int16
            .frozen_linear(&x, &w)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (row, numbers) in y.iter().enumerate() {
            let found = numbers.iter().any(|x| x.is_nan());
            assert_eq!(found, is_nan && row == 7, "{bad}, row {row}");
        }
        if bad == 0.0 {
            assert!(y[7].iter().all(|x| *x == 0.0));
        }
    }
    // numbers of any size keep their digits
    for scale in [1e-25, 1e25] {
        let x = f32s(&[64, 300], 4, 1.0);
        let scaled = Int16.frozen_linear(&(&x * scale).unwrap(), &w).unwrap();
        let plain = F32.frozen_linear(&x, &w).unwrap();
        assert!(
            error(&(scaled * (1.0 / scale)).unwrap(), &plain) < 1e-3,
            "{scale}"
        );
    }
}

#[test]
fn threads_and_instruction_sets_do_not_change_a_bit() {
    let (x, w) = (f32s(&[1000, 333], 4, 1.0), f32s(&[257, 333], 3, 0.1));
    let w = w.to_dtype(DType::BF16).unwrap();
    let all = || {
        let x = Var::from_tensor(&x).unwrap();
        let y = Int16.frozen_linear(&x, &w).unwrap();
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let dx = grads.get(&x).unwrap().flatten_all().unwrap();
        let both = [y.detach().flatten_all().unwrap(), dx].map(|t| t.to_vec1::<f32>().unwrap());
        both.concat()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let pool = |n| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap()
    };
    let one = pool(1).install(all);
    assert!(pool(3).install(all) == one);
    // sums are f32 with one rounding for product and sum; without FMA there are two
    if ops::Level::current() != ops::Level::Portable {
        let mix = |hash: u64, bits: &u32| (hash ^ u64::from(*bits)).wrapping_mul(0x0100_0000_01b3);
        let hash = one.iter().fold(0xcbf2_9ce4_8422_2325, mix);
        assert_eq!(hash, 6_022_925_942_883_359_335);
    }
}
