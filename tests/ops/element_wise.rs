//! RMS norm, SwiGLU, rotary embedding and masks: fused forms against the reference.

use super::{f32s, tables};
use candle_core::{DType, Device, Result, Tensor};
use ops::{Ragged, Rotation, reference};
use testkit::{assert_close, assert_close_slices, assert_same, gradients, values, varied};

#[test]
fn rms_norm_equals_the_reference() {
    // widths around the vector lengths, more rows than one task takes, and rows as narrow as heads
    for (n, d) in [
        (1, 5),
        (3, 16),
        (7, 37),
        (300, 96),
        (0, 8),
        (700, 64),
        (260, 128),
    ] {
        let inputs = [varied(&[n, d], 1, 2.0), varied(&[d], 2, 1.0)];
        assert_same(
            &format!("rms_norm {n}x{d}"),
            |x| ops::rms_norm(&x[0], &x[1], 1e-5),
            |x| reference::rms_norm(&x[0], &x[1], 1e-5),
            &inputs,
            2e-5,
        );
    }
}

#[test]
fn swiglu_equals_the_reference() {
    for (n, d) in [(1, 1), (3, 37), (40, 1000), (0, 4)] {
        // far enough out for the sigmoid to saturate on both sides
        let inputs = [varied(&[n, d], 3, 20.0), varied(&[n, d], 4, 1.0)];
        assert_same(
            &format!("swiglu {n}x{d}"),
            |x| ops::swiglu(&x[0], &x[1]),
            |x| reference::swiglu(&x[0], &x[1]),
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
fn rope_equals_the_reference() {
    // whole heads and parts of them, around the vector lengths
    for (lens, heads, head_dim, rotated) in [
        (vec![3, 1, 0, 4], 3, 8, 8),
        (vec![70, 50], 2, 34, 34),
        (vec![0], 1, 4, 4),
        (vec![5, 2], 3, 7, 2),
        (vec![70, 50], 2, 96, 72),
        (vec![9], 1, 35, 34),
    ] {
        let layout = Ragged::from_lens(&lens);
        let (cos, sin) = tables(80, rotated);
        let (cos32, sin32) = (
            cos.to_dtype(DType::F32).unwrap(),
            sin.to_dtype(DType::F32).unwrap(),
        );
        let positions = layout.positions();
        let rotation = |tables| Rotation {
            tables,
            positions: &positions,
            head_dim,
        };
        assert_same(
            &format!("rope {lens:?} of {rotated} of {head_dim}"),
            |x| ops::rope(&x[0], rotation((&cos32, &sin32))),
            |x| reference::rope(&x[0], rotation((&cos, &sin))),
            &[varied(&[layout.n_tokens(), heads * head_dim], 5, 1.0)],
            1e-5,
        );
    }
}

/// One head of 6, of which 4 numbers are rotated by a quarter and by half a turn.
#[test]
fn rope_rotates_the_first_numbers_of_a_head() -> Result<()> {
    let table = |values: [f32; 2]| Tensor::new(&[values], &Device::Cpu);
    let (cos, sin) = (table([0., -1.])?, table([1., 0.])?);
    let rotation = Rotation {
        tables: (&cos, &sin),
        positions: &[0],
        head_dim: 6,
    };
    let x = Tensor::new(&[[1f32, 2., 3., 4., 5., 6.]], &Device::Cpu)?;
    for y in [ops::rope(&x, rotation)?, reference::rope(&x, rotation)?] {
        assert_eq!(values(&y), [-3., -2., 1., -4., 5., 6.]);
    }
    Ok(())
}

#[test]
fn rope_keeps_norms_and_depends_only_on_distances() {
    let (cos, sin) = tables(64, 8);
    let (cos, sin) = (
        cos.to_dtype(DType::F32).unwrap(),
        sin.to_dtype(DType::F32).unwrap(),
    );
    let (q, k) = (f32s(&[1, 8], 6, 1.0), f32s(&[1, 8], 7, 1.0));
    let turned = |x: &Tensor, position: u32| {
        let rotation = Rotation {
            tables: (&cos, &sin),
            positions: &[position],
            head_dim: 8,
        };
        ops::rope(x, rotation).unwrap()
    };
    let dot = |i: u32, j: u32| {
        values(&(turned(&q, i) * turned(&k, j)).unwrap())
            .iter()
            .sum::<f64>()
    };
    assert_close_slices(
        "same distance",
        &[dot(9, 4), dot(60, 55)],
        &[dot(5, 0); 2],
        1e-5,
    );
    let norm = |x: &Tensor| values(x).iter().map(|v| v * v).sum::<f64>();
    assert_close_slices("norm", &[norm(&turned(&q, 33))], &[norm(&q)], 1e-5);
}

#[test]
fn masking_equals_candles_product() {
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
