//! Kernels without attention against the references in f64, and their exact properties.

use crate::cuda::{DTYPES, assert_kernel, assert_near, on_emulated_gpu};
use candle_core::{DType, Device, Tensor};
use ops::{QuantisedBlocks, Ragged, Rotation, reference};
use testkit::{golden_tensors, values, varied};

#[test]
fn rms_norm_equals_the_reference() {
    for (dtype, tolerance) in DTYPES {
        // rows of a warp, the widest of them, and of a thread block
        for (n, d) in [(1, 5), (3, 64), (70, 37), (19, 128), (5, 129), (9, 2052)] {
            let weight = varied(&[d], 2, 1.0);
            assert_kernel(
                &format!("rms_norm {n}x{d} {dtype:?}"),
                dtype,
                |x| ops::rms_norm(&x[0], &x[1], 1e-5),
                |x| reference::rms_norm(&x[0], &x[1], 1e-5),
                &[varied(&[n, d], 1, 2.0), weight],
                tolerance,
            );
        }
    }
}

#[test]
fn swiglu_equals_the_reference() {
    for (dtype, tolerance) in DTYPES {
        for (n, d) in [(1, 1), (3, 37), (40, 100)] {
            let inputs = [varied(&[n, d], 3, 4.0), varied(&[n, d], 4, 1.0)];
            assert_kernel(
                &format!("swiglu {n}x{d} {dtype:?}"),
                dtype,
                |x| ops::swiglu(&x[0], &x[1]),
                |x| reference::swiglu(&x[0], &x[1]),
                &inputs,
                tolerance,
            );
        }
    }
    let extreme = Tensor::new(&[[-200f32, 200., f32::NAN, 0.]], &Device::Cpu).unwrap();
    let out = on_emulated_gpu(false, || {
        ops::swiglu(&extreme, &extreme.ones_like().unwrap())
    });
    let out = values(&out.unwrap());
    assert_eq!(out[..2], [0.0, 200.0]);
    assert!(out[2].is_nan(), "NaN must not be hidden");
}

#[test]
fn rope_equals_the_reference() {
    for (dtype, tolerance) in DTYPES {
        for (lens, heads, head_dim, rotated) in [
            (vec![3, 1, 0, 4], 3, 8, 8),
            (vec![70, 50], 2, 34, 34),
            (vec![70, 50], 3, 35, 26),
        ] {
            let layout = Ragged::from_lens(&lens);
            let (cos, sin) = crate::ops::tables(80, rotated);
            let f32 = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            let (cos32, sin32) = (f32(&cos), f32(&sin));
            let positions = layout.positions();
            let rotation = |tables| Rotation {
                tables,
                positions: &positions,
                head_dim,
            };
            assert_kernel(
                &format!("rope {lens:?} of {rotated} of {head_dim} {dtype:?}"),
                dtype,
                |x| ops::rope(&x[0], rotation((&cos32, &sin32))),
                |x| reference::rope(&x[0], rotation((&cos, &sin))),
                &[varied(&[layout.n_tokens(), heads * head_dim], 5, 1.0)],
                tolerance,
            );
        }
    }
}

#[test]
fn linear_layers_equal_the_references() {
    for (dtype, tolerance) in DTYPES {
        let (n, k, out, r) = (7, 24, 33, 4);
        let w = varied(&[out, k], 9, 0.3).to_dtype(dtype).unwrap();
        let w64 = w.to_dtype(DType::F64).unwrap();
        let x = varied(&[n, k], 10, 1.0);
        assert_kernel(
            "frozen linear",
            dtype,
            |x| ops::frozen_linear(&x[0], &w),
            |x| x[0].matmul(&w64.t()?),
            std::slice::from_ref(&x),
            tolerance,
        );
        assert_kernel(
            "added linear",
            dtype,
            |x| ops::added_linear(&x[1], &x[0], &w),
            |x| &x[1] + x[0].matmul(&w64.t()?)?,
            &[x.clone(), varied(&[n, out], 11, 1.0)],
            tolerance,
        );
        let lora = [
            x.clone(),
            varied(&[r, k], 12, 0.3),
            varied(&[out, r], 13, 0.3),
        ];
        assert_kernel(
            "lora linear",
            dtype,
            |x| ops::lora_linear(&x[0], &x[0], &w, &x[1], &x[2], 0.7),
            |x| reference::lora_linear(&x[0], &x[0], &w64, &x[1], &x[2], 0.7),
            &lora,
            tolerance,
        );
        // after dropout the low-rank side has an input of its own
        let [x, a, b] = lora;
        assert_kernel(
            "lora linear with dropout",
            dtype,
            |x| ops::lora_linear(&x[0], &x[3], &w, &x[1], &x[2], 0.7),
            |x| reference::lora_linear(&x[0], &x[3], &w64, &x[1], &x[2], 0.7),
            &[x, a, b, varied(&[n, k], 14, 1.0)],
            tolerance,
        );
    }
}

/// f32 in and out, with weights of bf16: the product is bf16's, nothing else is.
#[test]
fn a_bf16_weight_takes_f32_activations() {
    let w = varied(&[33, 24], 9, 0.3).to_dtype(DType::BF16).unwrap();
    let w64 = w.to_dtype(DType::F64).unwrap();
    assert_kernel(
        "f32 by bf16",
        DType::F32,
        |x| ops::frozen_linear(&x[0], &w),
        |x| x[0].matmul(&w64.t()?),
        &[varied(&[7, 24], 10, 1.0)],
        4e-3,
    );
}

/// Wide for one product, in bf16, forward and backward.
#[test]
fn a_quantised_weight_equals_its_dequantised_copy() {
    let (n, k, out, r) = (7, 64, 33, 4);
    let w = varied(&[out, k], 9, 0.3).to_dtype(DType::F32).unwrap();
    let blocks = QuantisedBlocks::Q4_0.round(&w).unwrap();
    let wide = ops::widened(&blocks).unwrap().to_dtype(DType::F64).unwrap();
    let x = varied(&[n, k], 10, 1.0);
    let lora = [
        x.clone(),
        varied(&[r, k], 12, 0.3),
        varied(&[out, r], 13, 0.3),
    ];
    assert_kernel(
        "lora linear over blocks",
        DType::F32,
        |x| ops::lora_linear(&x[0], &x[0], &blocks, &x[1], &x[2], 0.7),
        |x| reference::lora_linear(&x[0], &x[0], &wide, &x[1], &x[2], 0.7),
        &lora,
        4e-3,
    );
    assert_kernel(
        "added linear over blocks",
        DType::BF16,
        |x| ops::added_linear(&x[1], &x[0], &blocks),
        |x| &x[1] + x[0].matmul(&wide.t()?)?,
        &[x.clone(), varied(&[n, out], 11, 1.0)],
        4e-3,
    );
    let targets: Vec<u32> = (0..n as u32).map(|i| i * 4).collect();
    let ones = vec![1.0; n];
    assert_kernel(
        "token scores over blocks",
        DType::F32,
        |x| Ok(ops::token_scores(&x[0], &blocks, &targets, &ones)?.logp),
        |x| Ok(reference::token_scores(&x[0], &wide, &targets, &ones)?.logp),
        &[x],
        8e-3,
    );
}

#[test]
fn token_scores_equal_the_reference() {
    for (dtype, tolerance) in DTYPES {
        let (m, d, vocab) = (11, 16, 700);
        let head = varied(&[vocab, d], 15, 0.4).to_dtype(dtype).unwrap();
        let head64 = head.to_dtype(DType::F64).unwrap();
        let targets: Vec<u32> = (0..m as u32).map(|i| (i * 67 + 3) % vocab as u32).collect();
        let temperature: Vec<f32> = (0..m).map(|i| 0.7 + 0.1 * i as f32).collect();
        let scores = |scores: ops::TokenScores, dtype| {
            Tensor::stack(&[scores.logp, scores.entropy], 0)?.to_dtype(dtype)
        };
        assert_kernel(
            &format!("token scores {dtype:?}"),
            dtype,
            |x| {
                scores(
                    ops::token_scores(&x[0], &head, &targets, &temperature)?,
                    dtype,
                )
            },
            |x| {
                let plain = reference::token_scores(&x[0], &head64, &targets, &temperature)?;
                scores(plain, DType::F64)
            },
            &[varied(&[m, d], 16, 1.0)],
            2.0 * tolerance,
        );
        let [p, q] = [16, 17].map(|seed| varied(&[m, d], seed, 1.0).to_dtype(dtype).unwrap());
        let found = on_emulated_gpu(true, || {
            ops::compared_scores(&p, &q, &head, &targets, &temperature)
        });
        let found = found.unwrap();
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let wanted =
            reference::compared_scores(&wide(&p), &wide(&q), &head64, &targets, &temperature)
                .unwrap();
        let ops::ComparedScores { p, q, kl } = found;
        let found = [p.logp, p.entropy, q.logp, q.entropy, kl];
        assert_near(
            "compared",
            &Tensor::stack(&found, 0).unwrap(),
            &wanted,
            1e-5,
        );
    }
}

/// Salmon et al. 2011, as their Random123 has it.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |by: u32, x: u32| u64::from(by) * u64::from(x);
        let (a, b) = (
            product(0xD2511F53, counter[0]),
            product(0xCD9E8D57, counter[2]),
        );
        let high = |x: u64| (x >> 32) as u32;
        counter = [
            high(b) ^ counter[1] ^ key[0],
            b as u32,
            high(a) ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E3779B9),
            key[1].wrapping_add(0xBB67AE85),
        ];
    }
    counter
}

#[test]
fn dropout_draws_the_same_mask_for_the_gradient() {
    // the known answers of Random123
    let zeros = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
    assert_eq!(philox([0; 4], [0; 2]), zeros);
    let ones = [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd];
    assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), ones);
    let (n, p, seed, stream) = (2 * 1501usize, 0.25, 0x1234_5678_9abc_def0u64, 7u32);
    let mask: Vec<f64> = (0..n as u32)
        .map(|i| {
            let random = philox([i / 4, 0, stream, 0], [seed as u32, (seed >> 32) as u32]);
            if f64::from(random[i as usize % 4]) < p * 2f64.powi(32) {
                0.0
            } else {
                1.0 / (1.0 - p)
            }
        })
        .collect();
    let kept = mask.iter().filter(|m| **m > 0.0).count() as f64 / n as f64;
    assert!((kept - 0.75).abs() < 0.03, "{kept}");
    let mask = Tensor::from_vec(mask, (2, n / 2), &Device::Cpu).unwrap();
    for (dtype, tolerance) in DTYPES {
        assert_kernel(
            &format!("dropout {dtype:?}"),
            dtype,
            |x| ops::dropout(&x[0], p, seed, stream),
            |x| &x[0] * &mask,
            &[varied(&[2, n / 2], 26, 1.0)],
            tolerance,
        );
    }
}

#[test]
fn adamw_equals_the_reference() {
    let step = ops::AdamWStep {
        grad_scale: 0.5,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        step_size: 1e-2,
        correction2: 0.3,
        keep: 0.99,
    };
    for n in [1, 5, 4096, 5001] {
        let of = |dtype| {
            let second = varied(&[n], 24, 1.0).sqr().unwrap();
            [
                varied(&[n], 22, 1.0),
                varied(&[n], 23, 1.0),
                second,
                varied(&[n], 25, 1.0),
            ]
            .map(|x| x.to_dtype(dtype).unwrap())
        };
        let ([p, m, v, g], [wp, wm, wv, wg]) = (of(DType::F32), of(DType::F64));
        on_emulated_gpu(true, || ops::adamw(&p, &m, &v, &g, &step)).unwrap();
        reference::adamw(&wp, &wm, &wv, &wg, &step).unwrap();
        for (name, found, wanted) in [("parameter", p, wp), ("mean", m, wm), ("square", v, wv)] {
            assert_near(&format!("{name} of {n}"), &found, &wanted, 1e-6);
        }
    }
}

/// Exact in f32, rounded once in bf16.
#[test]
fn widening_gives_the_exact_numbers() {
    let golden = golden_tensors("blocks.safetensors");
    for format in QuantisedBlocks::ALL {
        let name = format.name();
        // more than one thread block
        let weight = Tensor::cat(&[&golden[&format!("{name}.bytes")]; 5], 0).unwrap();
        let numbers = Tensor::cat(&[&golden[&format!("{name}.numbers")]; 5], 0).unwrap();
        for backwards in [false, true] {
            let of = |dtype| {
                on_emulated_gpu(backwards, || {
                    ops::widened_by_kernel(&weight, dtype).unwrap()
                })
            };
            assert_eq!(values(&of(DType::F32)), values(&numbers), "{name}");
            let rounded = numbers.to_dtype(DType::BF16).unwrap();
            assert_eq!(values(&of(DType::BF16)), values(&rounded), "{name}");
        }
    }
}
