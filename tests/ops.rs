//! The fused operations against their plain compositions, the plain ones against finite differences, and closed forms.

mod blocks;
mod step;

use candle_core::{DType, Device, Result, Tensor};
use ops::{Ragged, composed};
use testkit::{
    assert_close, assert_close_slices, assert_gradient, assert_same, gradients, values, varied,
};

fn f32s(shape: &[usize], seed: u64, scale: f64) -> Tensor {
    varied(shape, seed, scale).to_dtype(DType::F32).unwrap()
}

/// cos and sin tables [max_pos, D/2], f64.
pub(crate) fn tables(max_pos: usize, head_dim: usize) -> (Tensor, Tensor) {
    let half = head_dim / 2;
    let angle = |p: usize, i: usize| p as f64 * 1e4f64.powf(-(i as f64) / half as f64);
    let all: Vec<f64> = (0..max_pos)
        .flat_map(|p| (0..half).map(move |i| angle(p, i)))
        .collect();
    let angles = Tensor::from_vec(all, (max_pos, half), &Device::Cpu).unwrap();
    (angles.cos().unwrap(), angles.sin().unwrap())
}

#[test]
fn the_level_is_the_one_asked_for() {
    let asked = std::env::var(ops::Level::VARIABLE).unwrap_or("auto".into());
    let wanted = match asked.as_str() {
        "auto" => ops::Level::here()[0].name(),
        name => name,
    };
    assert_eq!(ops::Level::current().name(), wanted);
}

#[test]
fn rms_norm_is_its_composition() {
    // widths around the vector lengths, and more rows than one task takes
    for (n, d) in [(1, 5), (3, 16), (7, 37), (300, 96), (0, 8)] {
        let inputs = [varied(&[n, d], 1, 2.0), varied(&[d], 2, 1.0)];
        assert_same(
            &format!("rms_norm {n}x{d}"),
            |x| ops::rms_norm(&x[0], &x[1], 1e-5),
            |x| composed::rms_norm(&x[0], &x[1], 1e-5),
            &inputs,
            2e-5,
        );
    }
}

#[test]
fn swiglu_is_its_composition() {
    for (n, d) in [(1, 1), (3, 37), (40, 1000), (0, 4)] {
        // far enough out for the sigmoid to saturate on both sides
        let inputs = [varied(&[n, d], 3, 20.0), varied(&[n, d], 4, 1.0)];
        assert_same(
            &format!("swiglu {n}x{d}"),
            |x| ops::swiglu(&x[0], &x[1]),
            |x| composed::swiglu(&x[0], &x[1]),
            &inputs,
            1e-5,
        );
    }
    let extreme = Tensor::new(&[[-200f32, 200., f32::NAN, 0.]], &Device::Cpu).unwrap();
    let out = values(&ops::swiglu(&extreme, &extreme.ones_like().unwrap()).unwrap());
    assert_close_slices("extremes", &[out[0], out[1], out[3]], &[0., 200., 0.], 1e-6);
    assert!(out[2].is_nan(), "NaN must not be hidden");
}

#[test]
fn rope_is_its_composition() {
    for (lens, heads, head_dim) in [
        (vec![3, 1, 0, 4], 3, 8),
        (vec![70, 50], 2, 34),
        (vec![0], 1, 4),
    ] {
        let layout = Ragged::from_lens(&lens);
        let (cos, sin) = tables(80, head_dim);
        let (cos32, sin32) = (
            cos.to_dtype(DType::F32).unwrap(),
            sin.to_dtype(DType::F32).unwrap(),
        );
        let positions = layout.positions();
        assert_same(
            &format!("rope {lens:?}"),
            |x| ops::rope(&x[0], &cos32, &sin32, &positions),
            |x| composed::rope(&x[0], &cos, &sin, &positions),
            &[varied(&[layout.n_tokens(), heads * head_dim], 5, 1.0)],
            1e-5,
        );
    }
}

#[test]
fn rope_keeps_lengths_and_sees_only_distances() {
    let (cos, sin) = tables(64, 8);
    let (cos, sin) = (
        cos.to_dtype(DType::F32).unwrap(),
        sin.to_dtype(DType::F32).unwrap(),
    );
    let (q, k) = (f32s(&[1, 8], 6, 1.0), f32s(&[1, 8], 7, 1.0));
    let dot = |i: u32, j: u32| {
        let (q, k) = (
            ops::rope(&q, &cos, &sin, &[i]),
            ops::rope(&k, &cos, &sin, &[j]),
        );
        values(&(q.unwrap() * k.unwrap()).unwrap())
            .iter()
            .sum::<f64>()
    };
    assert_close_slices(
        "same distance",
        &[dot(9, 4), dot(60, 55)],
        &[dot(5, 0); 2],
        1e-5,
    );
    let turned = ops::rope(&q, &cos, &sin, &[33]).unwrap();
    let norm = |x: &Tensor| values(x).iter().map(|v| v * v).sum::<f64>();
    assert_close_slices("norm", &[norm(&turned)], &[norm(&q)], 1e-5);
}

#[test]
fn causal_attention_is_its_composition() {
    // lengths around the block of 64 query rows; groups of 1, 2 and 3
    for (lens, kv_heads, groups, head_dim) in [
        (vec![1], 1, 1, 4),
        (vec![5, 0, 3, 1], 2, 2, 8),
        (vec![63, 64, 65], 1, 3, 16),
        (vec![130, 2], 3, 3, 20),
        (vec![0, 0], 2, 1, 4),
    ] {
        let layout = Ragged::from_lens(&lens);
        let n = layout.n_tokens();
        let kv = kv_heads * head_dim;
        let inputs = [
            varied(&[n, kv * groups], 8, 2.0),
            varied(&[n, kv], 9, 2.0),
            varied(&[n, kv], 10, 1.0),
        ];
        assert_same(
            &format!("attention {lens:?} groups {groups}"),
            |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, head_dim),
            |x| composed::causal_attention(&x[0], &x[1], &x[2], &layout, head_dim),
            &inputs,
            3e-5,
        );
    }
}

/// Sequences 1, 2 and 4 continue sequence 0, sequence 5 continues 3; lengths around the block of query rows.
fn family(lens: [usize; 6]) -> Ragged {
    let parents = vec![None, Some(0), Some(0), None, Some(0), Some(3)];
    Ragged::continued(&lens, parents)
}

#[test]
fn attention_over_a_shared_prefix_is_its_composition() {
    for (lens, kv_heads, groups, head_dim) in [
        ([3, 2, 0, 4, 5, 1], 1, 1, 4),
        ([70, 65, 1, 2, 64, 130], 2, 3, 20),
        ([0, 3, 2, 0, 1, 0], 1, 2, 8),
    ] {
        let layout = family(lens);
        let (n, kv) = (layout.n_tokens(), kv_heads * head_dim);
        let inputs = [
            varied(&[n, kv * groups], 8, 2.0),
            varied(&[n, kv], 9, 2.0),
            varied(&[n, kv], 10, 1.0),
        ];
        assert_same(
            &format!("attention over a prefix, {lens:?}"),
            |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, head_dim),
            |x| composed::causal_attention(&x[0], &x[1], &x[2], &layout, head_dim),
            &inputs,
            3e-5,
        );
    }
}

#[test]
fn a_sequence_that_continues_a_prefix_sees_what_it_would_see_with_its_own_copy_of_it() {
    let (layout, d) = (family([5, 3, 2, 4, 6, 1]), 8);
    let x: Vec<Tensor> = (0..3).map(|i| varied(&[21, d], 30 + i, 1.0)).collect();
    let shared = composed::causal_attention(&x[0], &x[1], &x[2], &layout, d).unwrap();
    for (seq, prefix) in [(1, 0..5u32), (2, 0..5), (4, 0..5), (5, 10..14)] {
        let own = layout.range(seq);
        let rows: Vec<u32> = prefix.chain(own.clone().map(|row| row as u32)).collect();
        let whole: Vec<Tensor> = x
            .iter()
            .map(|x| x.index_select(&Tensor::new(rows.as_slice(), &Device::Cpu).unwrap(), 0))
            .collect::<Result<_>>()
            .unwrap();
        let alone = Ragged::from_lens(&[rows.len()]);
        let alone = composed::causal_attention(&whole[0], &whole[1], &whole[2], &alone, d).unwrap();
        let last = alone.narrow(0, rows.len() - own.len(), own.len()).unwrap();
        let found = shared.narrow(0, own.start, own.len()).unwrap();
        assert_close(&format!("sequence {seq}"), &found, &last, 1e-12);
        let first = rows.len() as u32 - own.len() as u32;
        let positions: Vec<u32> = (first..rows.len() as u32).collect();
        assert_eq!(&layout.positions()[own], positions.as_slice());
    }
    assert_eq!(layout.contexts(), [5, 8, 7, 4, 11, 5]);
}

#[test]
#[should_panic(expected = "sequence 2 cannot continue 1")]
fn a_prefix_continues_nothing_itself() {
    Ragged::continued(&[1, 1, 1], vec![None, Some(0), Some(1)]);
}

#[test]
fn a_sequence_sees_neither_its_neighbours_nor_its_future() {
    let layout = Ragged::from_lens(&[4, 6, 3]);
    let x: Vec<Tensor> = (0..3).map(|i| f32s(&[13, 8], 11 + i, 1.0)).collect();
    let run = |x: &[Tensor], layout: &Ragged| {
        ops::causal_attention(&x[0], &x[1], &x[2], layout, 4).unwrap()
    };
    let all = run(&x, &layout);

    let order = Tensor::new(&[10u32, 11, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &Device::Cpu).unwrap();
    let moved: Vec<Tensor> = x
        .iter()
        .map(|x| x.index_select(&order, 0).unwrap())
        .collect();
    let permuted = run(&moved, &Ragged::from_lens(&[3, 4, 6]));
    assert_close(
        "permuted",
        &permuted,
        &all.index_select(&order, 0).unwrap(),
        0.0,
    );

    let prefix: Vec<Tensor> = x.iter().map(|x| x.narrow(0, 4, 2).unwrap()).collect();
    let alone = run(&prefix, &Ragged::from_lens(&[2]));
    assert_close("prefix alone", &alone, &all.narrow(0, 4, 2).unwrap(), 1e-6);
}

#[test]
fn linear_is_its_composition_with_no_gradient_to_the_weight() {
    // rows on both sides of the skinny kernel's limit (24), widths off the vector lengths
    for (n, k, out) in [
        (0, 8, 4),
        (1, 5, 3),
        (2, 64, 33),
        (7, 37, 50),
        (8, 600, 96),
        (24, 48, 7),
        (25, 48, 7),
        (33, 20, 9),
        (70, 64, 65),
        // the product's tiles: 8, 4, 2 and 1 rows; 1, 2 and 3 vectors, whole and cut; panels of one part and more; threads
        (40, 192, 48),
        (47, 193, 49),
        (41, 15, 16),
        (43, 400, 17),
        (300, 208, 100),
    ] {
        let inputs = [varied(&[n, k], 14, 1.0), varied(&[out, k], 15, 0.3)];
        assert_same(
            &format!("frozen_linear {n}x{k}x{out}"),
            |x| ops::frozen_linear(&x[0], &x[1]),
            |x| composed::frozen_linear(&x[0], &x[1]),
            &inputs,
            2e-5,
        );
        for dtype in [DType::F32, DType::F64] {
            let (_, grads) =
                gradients(|x| ops::frozen_linear(&x[0], &x[1]), &inputs, dtype).unwrap();
            assert!(values(&grads[1]).iter().all(|g| *g == 0.0));
        }
    }
}

#[test]
fn a_layer_added_to_what_came_in_is_its_composition() {
    for (n, k, out) in [
        (0, 8, 4),
        (1, 5, 3),
        (32, 48, 7),
        (70, 64, 65),
        (300, 208, 100),
    ] {
        let weight = varied(&[out, k], 15, 0.3);
        let w = |like: &Tensor| weight.to_dtype(like.dtype());
        assert_same(
            &format!("added_linear {n}x{k}x{out}"),
            |x| ops::added_linear(&x[0], &x[1], &w(&x[0])?),
            |x| &x[0] + composed::frozen_linear(&x[1], &w(&x[0])?)?,
            &[varied(&[n, out], 13, 1.0), varied(&[n, k], 14, 1.0)],
            2e-5,
        );
    }
    // beside an adapter of zeros there is no difference at all, in any kernel
    for (n, kind) in [(8, 0), (64, 0), (8, 1), (40, 1), (64, 1), (8, 2), (64, 2)] {
        let (residual, x, w) = (
            f32s(&[n, 33], 13, 1.0),
            f32s(&[n, 600], 14, 1.0),
            f32s(&[33, 600], 15, 0.3),
        );
        let w = match kind {
            0 => w,
            1 => w.to_dtype(DType::BF16).unwrap(),
            _ => ops::in_8_bits(&w).unwrap(),
        };
        let (a, b) = (f32s(&[4, 600], 16, 1.0), f32s(&[33, 4], 17, 0.0));
        let adapted = ops::lora_linear(&x, &x, &w, &a, &b, 1.5).unwrap();
        let found = ops::added_linear(&residual, &x, &w).unwrap();
        assert_close(
            &format!("kind {kind}"),
            &found,
            &(residual + adapted).unwrap(),
            0.0,
        );
    }
    let x = |shape: &[usize]| f32s(shape, 1, 1.0);
    let misfit = ops::added_linear(&x(&[3, 5]), &x(&[3, 4]), &x(&[6, 4]));
    let error = misfit.unwrap_err().to_string();
    assert!(error.contains("make nothing to add to [3, 5]"), "{error}");
}

#[test]
fn a_layer_that_trains_is_its_composition() {
    for (n, k, out) in [
        (0, 8, 4),
        (1, 5, 3),
        (32, 48, 7),
        (70, 64, 65),
        (47, 193, 49),
    ] {
        assert_same(
            &format!("linear {n}x{k}x{out}"),
            |x| ops::linear(&x[0], &x[1]),
            |x| x[0].matmul(&x[1].t()?),
            &[varied(&[n, k], 14, 1.0), varied(&[out, k], 15, 0.3)],
            3e-5,
        );
    }
}

#[test]
fn a_weight_kept_in_bf16_is_the_f32_weight_of_the_same_numbers() {
    // up to 24 rows and above 56 both go through one kernel, bit for bit; the head takes 256 rows at a time
    for (n, k, out) in [(1, 5, 3), (8, 600, 97), (60, 193, 49), (320, 64, 100)] {
        let bf16 = f32s(&[out, k], 15, 0.3).to_dtype(DType::BF16).unwrap();
        let wide = bf16.to_dtype(DType::F32).unwrap();
        let low_rank = [varied(&[3, k], 19, 0.3), varied(&[out, 3], 20, 0.3)];
        let inputs = [&[varied(&[n, k], 14, 1.0)][..], &low_rank].concat();
        let ids = targets(n, out);
        let run = |w: &Tensor, x: &[Tensor]| -> Result<Vec<Tensor>> {
            let scores = ops::token_scores(&x[0], w, &ids, &temperatures(n))?;
            Ok(vec![
                ops::frozen_linear(&x[0], w)?,
                ops::lora_linear(&x[0], &x[0], w, &x[1], &x[2], 1.5)?,
                stacked(scores)?,
            ])
        };
        for i in 0..3 {
            let of = |w: &Tensor| gradients(|x| Ok(run(w, x)?.remove(i)), &inputs, DType::F32);
            let ((a, da), (b, db)) = (of(&bf16).unwrap(), of(&wide).unwrap());
            let name = format!("{i} of {n}x{k}x{out}");
            assert_eq!(values(&a), values(&b), "{name}");
            for (da, db) in da.iter().zip(&db) {
                assert_eq!(values(da), values(db), "gradient of {name}");
            }
        }
        let x = inputs[0].to_dtype(DType::F32).unwrap();
        let compared = |w: &Tensor| {
            let scores = ops::compared_scores(&x, &(&x * 0.5)?, w, &ids, &temperatures(n))?;
            Ok::<_, candle_core::Error>([values(&scores.kl), values(&scores.q.logp)])
        };
        assert_eq!(compared(&bf16).unwrap(), compared(&wide).unwrap());
    }
}

#[test]
fn where_nothing_is_fused_a_product_is_at_the_weights_precision() {
    // as on a card: bf16 weights behind wider activations
    let (x, w) = (varied(&[5, 24], 14, 1.0), varied(&[7, 24], 15, 0.3));
    let narrow = w.to_dtype(DType::BF16).unwrap();
    let of = |w: &Tensor| {
        gradients(
            |x| ops::frozen_linear(&x[0], w),
            std::slice::from_ref(&x),
            DType::F64,
        )
    };
    let ((a, da), (b, db)) = (of(&narrow).unwrap(), of(&w).unwrap());
    assert_eq!((a.dtype(), da[0].dtype()), (DType::F64, DType::F64));
    // x and the result are rounded to 8 bits, too
    assert_close("product", &a, &b, 2e-2);
    assert_close("gradient", &da[0], &db[0], 2e-2);
    let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f64>().unwrap() > 1e-5);
}

#[test]
fn a_mask_of_constants_is_candles_product() {
    let constants = f32s(&[6, 5], 8, 3.0);
    let mask = || values(&constants).iter().map(|v| *v as f32).collect();
    let inputs = [varied(&[6, 5], 7, 1.0)];
    for dtype in [DType::F32, DType::F64] {
        let of = |f: &dyn Fn(&Tensor) -> Result<Tensor>| gradients(|x| f(&x[0]), &inputs, dtype);
        let (a, da) = of(&|x| ops::masked(x, mask())).unwrap();
        let (b, db) = of(&|x| x * constants.to_dtype(dtype)?).unwrap();
        assert_close("masked", &a, &b, 0.0);
        assert_close("gradient", &da[0], &db[0], 0.0);
    }
    assert!(ops::masked(&f32s(&[2, 2], 1, 1.0), vec![1.0; 3]).is_err());
}

#[test]
fn a_weight_in_8_bits_is_rounded_to_its_rows_scale() {
    for (n, k, out) in [(1, 5, 3), (8, 608, 97), (40, 193, 49), (300, 64, 100)] {
        let w = f32s(&[out, k], 15, 0.3);
        let narrow = ops::in_8_bits(&w).unwrap();
        assert_eq!(narrow.dims(), [out, k + 4]);
        // its numbers, read by the identity
        let eye = Tensor::eye(k, DType::F32, &Device::Cpu).unwrap();
        let wide = ops::frozen_linear(&eye, &narrow).unwrap().t().unwrap();
        let wide = wide.contiguous().unwrap();
        for (row, found) in w
            .to_vec2::<f32>()
            .unwrap()
            .iter()
            .zip(wide.to_vec2::<f32>().unwrap())
        {
            let scale = row.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
            for (x, y) in row.iter().zip(&found) {
                assert!(
                    (x - y).abs() <= 0.5001 * scale,
                    "{x} became {y}, scale {scale}"
                );
            }
        }
        let inputs = [varied(&[n, k], 14, 1.0)];
        let of = |w: &Tensor| gradients(|x| ops::frozen_linear(&x[0], w), &inputs, DType::F32);
        let ((a, da), (b, db)) = (of(&narrow).unwrap(), of(&wide).unwrap());
        assert_close(&format!("{n}x{k}x{out}"), &a, &b, 2e-5);
        assert_close(&format!("gradient of {n}x{k}x{out}"), &da[0], &db[0], 2e-5);
    }
    let zeros = Tensor::zeros((2, 16), DType::F32, &Device::Cpu).unwrap();
    let narrow = ops::in_8_bits(&zeros).unwrap();
    let y = ops::frozen_linear(&f32s(&[3, 16], 1, 1.0), &narrow).unwrap();
    assert!(values(&y).iter().all(|y| *y == 0.0));
    // a weight of 8 bits needs room for its scale
    assert!(
        ops::frozen_linear(
            &zeros,
            &Tensor::zeros((2, 3), DType::U8, &Device::Cpu).unwrap()
        )
        .is_err()
    );
}

#[test]
fn lora_linear_is_its_composition() {
    for (n, k, out, r) in [
        (1, 5, 3, 2),
        (9, 64, 33, 4),
        (70, 48, 65, 8),
        (40, 200, 50, 5),
        (0, 8, 4, 2),
    ] {
        let inputs = [
            varied(&[n, k], 16, 1.0),
            varied(&[n, k], 17, 1.0),
            varied(&[out, k], 18, 0.3),
            varied(&[r, k], 19, 0.3),
            varied(&[out, r], 20, 0.3),
        ];
        type Linear = fn(&Tensor, &Tensor, &Tensor, &Tensor, &Tensor, f64) -> Result<Tensor>;
        let shared =
            |f: Linear| move |x: &[Tensor]| f(&x[0], &x[0], &x[2].detach(), &x[3], &x[4], 1.5);
        let dropped =
            |f: Linear| move |x: &[Tensor]| f(&x[0], &x[1], &x[2].detach(), &x[3], &x[4], 1.5);
        for (name, fused, plain) in [
            (
                "same input",
                &shared(ops::lora_linear) as &dyn Fn(&[Tensor]) -> Result<Tensor>,
                &shared(composed::lora_linear) as &dyn Fn(&[Tensor]) -> Result<Tensor>,
            ),
            (
                "with dropout",
                &dropped(ops::lora_linear),
                &dropped(composed::lora_linear),
            ),
        ] {
            assert_same(
                &format!("lora {n}x{k}x{out} {name}"),
                fused,
                plain,
                &inputs,
                3e-5,
            );
        }
    }
}

#[test]
fn lora_with_zero_b_is_the_frozen_layer_and_still_trains_b() {
    let (x, w, a) = (
        f32s(&[5, 12], 21, 1.0),
        f32s(&[7, 12], 22, 1.0),
        varied(&[2, 12], 23, 1.0),
    );
    let b = Tensor::zeros((7, 2), DType::F64, &Device::Cpu).unwrap();
    let f = |p: &[Tensor]| ops::lora_linear(&x, &x, &w, &p[0], &p[1], 2.0);
    let (out, grads) = gradients(f, &[a, b], DType::F32).unwrap();
    assert_close("out", &out, &ops::frozen_linear(&x, &w).unwrap(), 0.0);
    assert!(values(&grads[0]).iter().all(|g| *g == 0.0));
    assert!(values(&grads[1]).iter().all(|g| *g != 0.0));
}

fn targets(m: usize, vocab: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * 7 + 3) % vocab) as u32).collect()
}

fn temperatures(m: usize) -> Vec<f32> {
    (0..m).map(|i| [1.0, 0.5, 2.0][i % 3]).collect()
}

/// [2, M]
fn stacked(scores: ops::TokenScores) -> Result<Tensor> {
    Tensor::stack(&[scores.logp, scores.entropy], 0)
}

#[test]
fn token_scores_are_their_composition() {
    // vocabularies around the tile of 512, rows around the block of 256 and the skinny limit
    for (m, d, vocab) in [(1, 8, 5), (3, 16, 511), (40, 12, 1300), (300, 8, 513)] {
        let (targets, temperature) = (targets(m, vocab), temperatures(m));
        let inputs = [varied(&[m, d], 24, 1.5), varied(&[vocab, d], 25, 1.0)];
        let plain = |x: &[Tensor]| {
            stacked(composed::token_scores(
                &x[0],
                &x[1],
                &targets,
                &temperature,
            )?)
        };
        let name = format!("token_scores {m}x{d}x{vocab}");
        let fused =
            |x: &[Tensor]| stacked(ops::token_scores(&x[0], &x[1], &targets, &temperature)?);
        assert_same(&name, fused, plain, &inputs, 5e-5);
        // in f64 the same call recomputes chunk by chunk
        let (found, found_grads) = gradients(fused, &inputs, DType::F64).unwrap();
        let (wanted, wanted_grads) = gradients(plain, &inputs, DType::F64).unwrap();
        assert_close(&name, &found, &wanted, 1e-12);
        assert_close(&name, &found_grads[0], &wanted_grads[0], 1e-12);

        let only_logp =
            |x: &[Tensor]| Ok(ops::token_scores(&x[0], &x[1], &targets, &temperature)?.logp);
        let plain =
            |x: &[Tensor]| Ok(composed::token_scores(&x[0], &x[1], &targets, &temperature)?.logp);
        assert_same(&name, only_logp, plain, &inputs, 5e-5);

        let fused = |x: &[Tensor]| ops::token_scores_trainable(&x[0], &x[1], &targets);
        let plain = |x: &[Tensor]| composed::token_scores_trainable(&x[0], &x[1], &targets);
        assert_same(&name, fused, plain, &inputs, 5e-5);
    }
}

#[test]
fn token_scores_of_no_label_are_empty() {
    let (hidden, head) = (f32s(&[0, 8], 26, 1.0), f32s(&[20, 8], 27, 1.0));
    let scores = ops::token_scores(&hidden, &head, &[], &[]).unwrap();
    assert_eq!(
        (scores.logp.dims(), scores.entropy.dims()),
        (&[0][..], &[0][..])
    );
    assert_eq!(
        ops::token_scores_trainable(&hidden, &head, &[])
            .unwrap()
            .dims(),
        [0]
    );
    let none = ops::compared_scores(&hidden, &hidden, &head, &[], &[]).unwrap();
    assert_eq!(none.kl.dims(), [0]);
}

#[test]
fn uniform_and_certain_distributions_have_closed_forms() {
    let vocab = 1000;
    let hidden = Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
    let head = f32s(&[vocab, 4], 28, 1.0);
    let uniform = ops::token_scores(&hidden, &head, &[0, 999], &[1.0, 0.7]).unwrap();
    let ln = (vocab as f64).ln();
    assert_close_slices("logp", &values(&uniform.logp), &[-ln; 2], 1e-6);
    assert_close_slices("entropy", &values(&uniform.entropy), &[ln; 2], 1e-6);

    let one = Tensor::ones((1, 1), DType::F32, &Device::Cpu).unwrap();
    let mut logits = vec![0f32; vocab];
    logits[700] = 1000.0;
    let head = Tensor::from_vec(logits, (vocab, 1), &Device::Cpu).unwrap();
    let certain = ops::token_scores(&one, &head, &[700], &[1.0]).unwrap();
    assert_eq!(values(&certain.logp), [0.0]);
    assert_close_slices("entropy", &values(&certain.entropy), &[0.0], 1e-30);
    let missed = ops::token_scores(&one, &head, &[3], &[1.0]).unwrap();
    assert_eq!(values(&missed.logp), [-1000.0]);
}

#[test]
fn compared_scores_are_those_of_each_and_a_kl_that_is_never_negative() {
    for (m, d, vocab) in [(1, 4, 3), (9, 8, 700), (40, 6, 1100)] {
        let (p, q, head) = (
            f32s(&[m, d], 29, 1.0),
            f32s(&[m, d], 30, 1.0),
            f32s(&[vocab, d], 31, 1.0),
        );
        let temperature = temperatures(m);
        let targets: Vec<u32> = (0..m as u32).map(|i| i * 37 % vocab as u32).collect();
        let compare = |p: &Tensor, q: &Tensor| {
            ops::compared_scores(p, q, &head, &targets, &temperature).unwrap()
        };
        let found = compare(&p, &q);
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let wanted =
            composed::compared_scores(&wide(&p), &wide(&q), &wide(&head), &targets, &temperature)
                .unwrap();
        let kl = wanted.get(4).unwrap();
        assert_close(&format!("kl {m}x{d}x{vocab}"), &found.kl, &kl, 2e-5);
        assert!(values(&found.kl).iter().all(|kl| *kl > 0.0));
        for (hidden, scores) in [(&p, &found.p), (&q, &found.q)] {
            let alone = ops::token_scores(hidden, &head, &targets, &temperature).unwrap();
            assert_eq!(values(&scores.logp), values(&alone.logp));
            assert_eq!(values(&scores.entropy), values(&alone.entropy));
        }
        let itself = compare(&p, &p).kl;
        assert_close_slices("kl to itself", &values(&itself), &vec![0.0; m], 1e-6);
        let broken = compare(&(&p * f64::NAN).unwrap(), &q).kl;
        assert!(values(&broken).iter().all(|kl| kl.is_nan()), "not hidden");
    }
}

#[test]
fn the_compositions_have_the_gradients_of_finite_differences() {
    let layout = Ragged::from_lens(&[3, 0, 1, 2]);
    let (cos, sin) = tables(4, 4);
    let positions = layout.positions();
    let x = |shape: &[usize], seed| varied(shape, seed, 1.0);
    let t = 1e-7;
    assert_gradient(
        "rms_norm",
        |x| composed::rms_norm(&x[0], &x[1], 1e-5),
        &[x(&[3, 5], 40), x(&[5], 41)],
        t,
    );
    assert_gradient(
        "rope",
        |x| composed::rope(&x[0], &cos, &sin, &positions),
        &[x(&[6, 8], 42)],
        t,
    );
    assert_gradient(
        "swiglu",
        |x| composed::swiglu(&x[0], &x[1]),
        &[x(&[2, 5], 43), x(&[2, 5], 44)],
        t,
    );
    assert_gradient(
        "attention",
        |x| composed::causal_attention(&x[0], &x[1], &x[2], &layout, 4),
        &[x(&[6, 8], 45), x(&[6, 4], 46), x(&[6, 4], 47)],
        t,
    );
    let w = x(&[4, 5], 48);
    assert_gradient(
        "frozen_linear",
        |x| ops::frozen_linear(&x[0], &w),
        &[x(&[3, 5], 49)],
        t,
    );
    assert_gradient(
        "lora_linear",
        |x| composed::lora_linear(&x[0], &x[1], &w, &x[2], &x[3], 0.7),
        &[
            x(&[3, 5], 50),
            x(&[3, 5], 51),
            x(&[2, 5], 52),
            x(&[4, 2], 53),
        ],
        t,
    );
    let (head, targets, temperature) = (x(&[7, 5], 54), targets(3, 7), temperatures(3));
    assert_gradient(
        "token_scores",
        |x| stacked(ops::token_scores(&x[0], &head, &targets, &temperature)?),
        &[x(&[3, 5], 55)],
        t,
    );
    assert_gradient(
        "token_scores_trainable",
        |x| composed::token_scores_trainable(&x[0], &x[1], &targets),
        &[x(&[3, 5], 56), x(&[7, 5], 57)],
        t,
    );
}

#[test]
fn cached_attention_over_split_spans_is_the_last_row_of_causal_attention() {
    for (lens, kv_heads, groups, head_dim) in [
        (vec![1, 7, 150], 1, 1, 8),
        (vec![70, 64], 3, 3, 20),
        (vec![5], 2, 2, 64),
    ] {
        let layout = Ragged::from_lens(&lens);
        let (n, kv) = (layout.n_tokens(), kv_heads * head_dim);
        let q = f32s(&[n, kv * groups], 60, 2.0);
        let (k, v) = (f32s(&[n, kv], 61, 2.0), f32s(&[n, kv], 62, 1.0));
        let all = ops::causal_attention(&q, &k, &v, &layout, head_dim).unwrap();

        // a store in which every other sequence lies in two pieces, the later piece first
        let store = |x: &Tensor| {
            let store = Tensor::full(f32::NAN, (2 * n + 3, kv), &Device::Cpu).unwrap();
            let rows: Vec<usize> = (0..n)
                .map(|i| if i % 2 == 0 { i / 2 } else { n + 3 + i / 2 })
                .collect();
            ops::scatter_rows(&store, &rows, x).unwrap();
            (store, rows)
        };
        let ((keys, rows), (values, _)) = (store(&k), store(&v));
        let spans: Vec<Vec<(usize, usize)>> = layout
            .ranges()
            .map(|r| {
                let even = r.clone().filter(|i| i % 2 == 0);
                let odd = r.filter(|i| i % 2 == 1);
                let run = |mut i: Box<dyn Iterator<Item = usize>>| {
                    i.next().map(|f| (rows[f], 1 + i.count()))
                };
                [run(Box::new(even)), run(Box::new(odd))]
                    .into_iter()
                    .flatten()
                    .collect()
            })
            .collect();
        let last: Vec<u32> = layout.ranges().map(|r| r.end as u32 - 1).collect();
        let last = Tensor::new(last, &Device::Cpu).unwrap();
        let q_last = q.index_select(&last, 0).unwrap();
        let wanted = all.index_select(&last, 0).unwrap();
        let found = ops::cached_attention(&q_last, &keys, &values, &spans, head_dim).unwrap();
        assert_close(&format!("cached {lens:?}"), &found, &wanted, 2e-5);
        let plain = composed::cached_attention(&q_last, &keys, &values, &spans, head_dim).unwrap();
        assert_close(&format!("composed cached {lens:?}"), &plain, &wanted, 2e-5);
    }
}

#[test]
fn scatter_rows_writes_those_rows_only() {
    for dtype in [DType::F32, DType::F64] {
        let store = Tensor::zeros((5, 3), dtype, &Device::Cpu).unwrap();
        let src = varied(&[4, 2], 63, 1.0).to_dtype(dtype).unwrap();
        let src = Tensor::cat(&[&src, &src.narrow(1, 0, 1).unwrap()], 1).unwrap();
        // a view that begins beyond the start of its storage
        ops::scatter_rows(&store, &[4, 0], &src.narrow(0, 1, 2).unwrap()).unwrap();
        let (store, src) = (values(&store), values(&src));
        assert_eq!(store[0..3], src[6..9]);
        assert_eq!(store[12..15], src[3..6]);
        assert!(store[3..12].iter().all(|x| *x == 0.0));
    }
}

#[test]
fn views_that_are_not_contiguous_are_read_right() {
    let wide = f32s(&[12, 6], 64, 1.0);
    let x = wide.t().unwrap(); // [6, 12] with strides swapped
    let x = x.narrow(1, 2, 8).unwrap();
    let copy = x.copy().unwrap().contiguous().unwrap();
    let weight = f32s(&[8, 5], 65, 1.0);
    let (w, w_copy) = (
        weight.t().unwrap(),
        weight.t().unwrap().contiguous().unwrap(),
    );
    let check = |name: &str, f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
        assert_close(name, &f(&x, &w).unwrap(), &f(&copy, &w_copy).unwrap(), 0.0);
    };
    let gain = f32s(&[8], 66, 1.0);
    let (layout, targets) = (Ragged::from_lens(&[2, 4]), targets(6, 5));
    check("rms_norm", &|x, _| ops::rms_norm(x, &gain, 1e-5));
    check("swiglu", &|x, _| ops::swiglu(x, x));
    check("attention", &|x, _| {
        ops::causal_attention(x, x, x, &layout, 4)
    });
    check("frozen_linear", &|x, w| ops::frozen_linear(x, w));
    check("token_scores", &|x, w| {
        Ok(ops::token_scores(x, w, &targets, &[1.0; 6])?.logp)
    });
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let (x, head) = (varied(&[90, 16], 67, 1.0), varied(&[1500, 16], 68, 1.0));
    let (layout, targets) = (Ragged::from_lens(&[40, 50]), targets(90, 1500));
    let run = || {
        let f = |p: &[Tensor]| {
            let x = ops::causal_attention(&p[0], &p[0], &p[0], &layout, 8)?;
            ops::token_scores_trainable(&x, &p[1], &targets)
        };
        let (out, grads) = gradients(f, &[x.clone(), head.clone()], DType::F32).unwrap();
        [values(&out), values(&grads[0]), values(&grads[1])]
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

#[test]
fn what_does_not_fit_is_an_error_not_a_panic() {
    let x = |shape: &[usize]| f32s(shape, 69, 1.0);
    let (cos, sin) = (x(&[4, 2]), x(&[4, 2]));
    let layout = Ragged::from_lens(&[3]);
    let check = |wanted: &str, result: Result<Tensor>| {
        let message = result
            .map(|t| t.dims().to_vec())
            .expect_err(wanted)
            .to_string();
        assert!(message.contains(wanted), "{message}");
    };
    check("rms_norm", ops::rms_norm(&x(&[2, 4]), &x(&[5]), 1e-5));
    check("position 4", ops::rope(&x(&[1, 4]), &cos, &sin, &[4]));
    check("swiglu", ops::swiglu(&x(&[2, 4]), &x(&[2, 5])));
    check(
        "causal_attention",
        ops::causal_attention(&x(&[4, 4]), &x(&[4, 4]), &x(&[4, 4]), &layout, 4),
    );
    check("linear", ops::frozen_linear(&x(&[2, 4]), &x(&[3, 5])));
    check(
        "target 9",
        ops::token_scores(&x(&[1, 4]), &x(&[9, 4]), &[9], &[1.0]).map(|s| s.logp),
    );
    check(
        "cached_attention",
        ops::cached_attention(&x(&[1, 4]), &x(&[5, 4]), &x(&[5, 4]), &[vec![(3, 3)]], 4),
    );
    check(
        "scatter_rows",
        ops::scatter_rows(&x(&[2, 4]), &[2], &x(&[1, 4]))
            .and_then(|()| Tensor::new(0f32, &Device::Cpu)),
    );
}

#[test]
fn softmax_weights_are_those_of_f64() {
    let logits: Vec<f32> = values(&varied(&[3000], 77, 9.0))
        .iter()
        .map(|v| *v as f32)
        .collect();
    for (n, temperature) in [(1, 1.0), (17, 0.3), (1024, 2.0), (3000, 0.7)] {
        let logits = &logits[..n];
        let mut weights = Vec::new();
        let sums = ops::softmax_weights(logits, temperature, &mut weights).unwrap();
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let logs: Vec<f64> = logits
            .iter()
            .map(|x| f64::from(x - max) / f64::from(temperature))
            .collect();
        let wanted: Vec<f64> = logs.iter().map(|x| x.exp()).collect();
        let found: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        assert_close_slices("weights", &found, &wanted, 1e-6);
        let blocks: Vec<f64> = wanted
            .chunks(ops::WEIGHTS_BLOCK)
            .map(|b| b.iter().sum())
            .collect();
        let scale = blocks.iter().copied().fold(1.0, f64::max);
        assert_close_slices("blocks", &sums.blocks, &blocks, 1e-6 * scale);
        let weighted: f64 = wanted.iter().zip(&logs).map(|(w, x)| w * x).sum();
        assert_close_slices("weighted", &[sums.weighted], &[weighted], 1e-5 * scale);
        assert_eq!(sums.top, logits.iter().position(|x| *x == max).unwrap());
    }
    let mut weights = Vec::new();
    let low = [0.0, -200.0, f32::NEG_INFINITY, 0.0];
    let sums = ops::softmax_weights(&low, 1.0, &mut weights).unwrap();
    assert_eq!(
        (weights.as_slice(), sums.top, sums.total()),
        (&[1.0, 0.0, 0.0, 1.0][..], 0, 2.0)
    );
    for broken in [[f32::NEG_INFINITY; 2], [f32::INFINITY, 0.0], [f32::NAN; 2]] {
        let sums = ops::softmax_weights(&broken, 1.0, &mut weights);
        assert!(sums.is_none_or(|s| s.total().is_nan()), "{broken:?}");
    }
    let one = ops::softmax_weights(&[0.0, f32::NAN, 1.0], 1.0, &mut weights).unwrap();
    assert!(one.total().is_nan(), "a NaN is not hidden");
}
