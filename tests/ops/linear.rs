//! Linear layers: frozen, added, trainable, adapted, with narrow weights.

use super::{f32s, stacked, targets, temperatures};
use candle_core::{DType, Device, Result, Tensor};
use ops::reference;
use testkit::{assert_close, assert_same, gradients, values, varied};

#[test]
fn frozen_linear_equals_the_reference_without_a_gradient_of_the_weight() {
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
        // the product's tiles: 8, 4, 2 and 1 rows; 1, 2 and 3 vectors, whole and cut; panels of one
        // part and more; threads
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
            |x| reference::frozen_linear(&x[0], &x[1]),
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
fn added_linear_equals_the_reference() {
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
            |x| &x[0] + reference::frozen_linear(&x[1], &w(&x[0])?)?,
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
    assert!(error.contains("do not fit the residual [3, 5]"), "{error}");
}

#[test]
fn trainable_linear_equals_the_reference() {
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
fn a_bf16_weight_equals_the_f32_weight_of_the_same_numbers() {
    // up to 24 rows and above 56 both go through one kernel, bit for bit; the head takes 256 rows
    // at a time
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
fn an_unfused_product_has_the_precision_of_the_weight() {
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
fn an_8_bit_weight_is_rounded_to_the_scale_of_its_row() {
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
fn lora_linear_equals_the_reference() {
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
                &shared(reference::lora_linear) as &dyn Fn(&[Tensor]) -> Result<Tensor>,
            ),
            (
                "with dropout",
                &dropped(ops::lora_linear),
                &dropped(reference::lora_linear),
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
fn lora_with_zero_b_equals_the_frozen_layer_and_trains_b() {
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
