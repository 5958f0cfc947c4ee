//! Quantised weights against the gguf package and PyTorch, and every operation that takes one
//! against the same numbers in f32.

use super::{f32s, targets};
use candle_core::quantized::{QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use ops::QuantisedBlocks;
use testkit::{assert_close, golden_tensors, gradients, values, varied};

fn bits(tensor: &Tensor) -> Vec<u32> {
    let numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn numbers_products_and_gradients_equal_the_gguf_package_and_torch() {
    let golden = golden_tensors("blocks.safetensors");
    for format in QuantisedBlocks::ALL {
        let name = format.name();
        let of = |what: &str| &golden[&format!("{name}.{what}")];
        let weight = of("bytes");
        assert_eq!(QuantisedBlocks::of(weight), Some(format));
        let numbers = ops::widened(weight).unwrap();
        assert_eq!(bits(&numbers), bits(of("numbers")), "{name}");

        let data = weight.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let storage = QStorage::from_data(data.into(), &Device::Cpu, format.ggml()).unwrap();
        let by_candle = QTensor::new(storage, numbers.shape().clone()).unwrap();
        let by_candle = by_candle.dequantize(&Device::Cpu).unwrap();
        assert_eq!(bits(&numbers), bits(&by_candle), "{name} beside candle");

        let g = of("g").to_dtype(DType::F32).unwrap();
        let weighed = |x: &[Tensor]| ops::frozen_linear(&x[0], weight)? * &g;
        let x = of("x").to_dtype(DType::F32).unwrap();
        let y = ops::frozen_linear(&x, weight).unwrap();
        // 256 terms in f32, of which the largest may cancel
        let largest = values(&numbers)
            .iter()
            .fold(1.0, |m: f64, x| m.max(x.abs()));
        assert_close(&format!("{name}: y"), &y, of("y"), 1e-5 * largest);
        let x = candle_core::Var::from_tensor(&x).unwrap();
        let loss = weighed(&[x.as_tensor().clone()])
            .unwrap()
            .sum_all()
            .unwrap();
        let dx = loss.backward().unwrap().remove(&x).unwrap();
        assert_close(&format!("{name}: dx"), &dx, of("dx"), 1e-6 * largest);
    }
}

#[test]
fn weights_are_quantised_as_by_the_gguf_package() {
    let golden = golden_tensors("blocks.safetensors");
    for format in [QuantisedBlocks::Q8_0, QuantisedBlocks::Q4_0] {
        let found = format.round(&golden["wide"]).unwrap();
        let found = found.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let wanted = &golden[&format!("{}.rounded", format.name())];
        let wanted = wanted.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        assert_eq!(found, wanted, "{}", format.name());
    }
    // of q4_k the package has no rounding: 4 bits of 32 numbers between their least and largest,
    // give or take the scales' own bits
    let wide = f32s(&[3, 512], 5, 0.3);
    let found = ops::widened(&QuantisedBlocks::Q4_K.round(&wide).unwrap()).unwrap();
    let (found, wide) = (values(&found), values(&wide));
    for (group, of) in found.chunks(32).zip(wide.chunks(32)) {
        let span = of.iter().copied().fold(f64::MIN, f64::max).max(0.0)
            - of.iter().copied().fold(f64::MAX, f64::min).min(0.0);
        for (found, x) in group.iter().zip(of) {
            assert!(
                (found - x).abs() < 0.06 * span,
                "{x} became {found}, span {span}"
            );
        }
    }
}

/// [out, k] rounded to the format, and the same numbers in f32.
fn weight(format: QuantisedBlocks, out: usize, k: usize) -> (Tensor, Tensor) {
    let blocks = format.round(&f32s(&[out, k], 15, 0.3)).unwrap();
    assert_eq!(blocks.dims(), [out, k / format.numbers(), format.bytes()]);
    let wide = ops::widened(&blocks).unwrap();
    (blocks, wide)
}

#[test]
fn a_quantised_weight_equals_the_f32_weight_of_the_same_numbers() {
    // up to 24 rows and above 56 both go through one kernel, bit for bit; columns that begin inside
    // a block, and several depths of a panel
    for (n, k, out) in [(1, 256, 3), (8, 512, 97), (60, 768, 49), (320, 256, 100)] {
        for format in QuantisedBlocks::ALL {
            let (blocks, wide) = weight(format, out, k);
            let low_rank = [varied(&[3, k], 19, 0.3), varied(&[out, 3], 20, 0.3)];
            let inputs = [&[varied(&[n, k], 14, 1.0)][..], &low_rank].concat();
            let (ids, temperature) = (targets(n, out), vec![1.3; n]);
            type Of<'a> = &'a dyn Fn(&[Tensor], &Tensor) -> Result<Tensor>;
            let scores = |x: &[Tensor], w: &Tensor| {
                let scores = ops::token_scores(&x[0], w, &ids, &temperature)?;
                scores.logp + scores.entropy
            };
            for (what, op) in [
                (
                    "frozen",
                    &(|x: &[Tensor], w: &Tensor| ops::frozen_linear(&x[0], w)) as Of,
                ),
                ("lora", &|x, w| {
                    ops::lora_linear(&x[0], &x[0], w, &x[1], &x[2], 1.5)
                }),
                ("scores", &scores),
            ] {
                let of = |w: &Tensor| gradients(|x| op(x, w), &inputs, DType::F32).unwrap();
                let ((a, da), (b, db)) = (of(&blocks), of(&wide));
                let name = format!("{what} {} {n}x{k}x{out}", format.name());
                assert_eq!(bits(&a), bits(&b), "{name}");
                for (da, db) in da.iter().zip(&db) {
                    assert_eq!(bits(da), bits(db), "gradient of {name}");
                }
            }
            let (p, q) = (f32s(&[n, k], 30, 1.0), f32s(&[n, k], 31, 1.0));
            let kl = |w: &Tensor| {
                ops::compared_scores(&p, &q, w, &ids, &temperature)
                    .unwrap()
                    .kl
            };
            assert_eq!(bits(&kl(&blocks)), bits(&kl(&wide)), "{}", format.name());
            let ids = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap();
            let rows = |w: &Tensor| ops::embedding(w, &ids).unwrap();
            assert_eq!(bits(&rows(&blocks)), bits(&rows(&wide)));
        }
    }
    // between those the few-rows kernel serves blocks and the packed one f32
    let (blocks, wide) = weight(QuantisedBlocks::Q4_0, 50, 96);
    let x = f32s(&[40, 96], 14, 1.0);
    let of = |w: &Tensor| ops::frozen_linear(&x, w).unwrap();
    assert_close("40 rows", &of(&blocks), &of(&wide), 1e-5);
}

#[test]
fn bytes_that_are_not_a_weight_are_refused() {
    let x = f32s(&[2, 64], 1, 1.0);
    for dims in [vec![3, 2, 19], vec![3, 0, 18], vec![3, 4], vec![3, 1, 18]] {
        let bytes = Tensor::zeros(dims.clone(), DType::U8, &Device::Cpu).unwrap();
        assert!(ops::frozen_linear(&x, &bytes).is_err(), "{dims:?}");
    }
    let error = QuantisedBlocks::Q4_K
        .round(&f32s(&[3, 96], 1, 1.0))
        .unwrap_err();
    assert!(error.to_string().contains("256"), "{error}");
    let error = QuantisedBlocks::Q8_0
        .weight(&[0; 40], (1, 32), &Device::Cpu)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("40 bytes do not make a weight [1, 32]"),
        "{error}"
    );
}

/// NaN and infinity in place of every two bytes of a block: they are found where they are a scale,
/// which is where they make a number that is not finite.
#[test]
fn a_scale_that_is_not_finite_is_found() {
    for format in QuantisedBlocks::ALL {
        let (blocks, wide) = weight(format, 2, 512);
        assert_eq!(format.bad_scale(&blocks).unwrap(), None);
        assert!(testkit::values(&wide).iter().all(|v| v.is_finite()));
        let bytes = blocks.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let (block, mut n_scales) = (1, 0);
        for at in 0..format.bytes() - 1 {
            for bad in [0x7e00u16, 0x7c00, 0xfc00] {
                let mut bytes = bytes.clone();
                let place = block * format.bytes() + at;
                bytes[place..place + 2].copy_from_slice(&bad.to_le_bytes());
                let blocks = Tensor::from_vec(bytes, blocks.shape(), &Device::Cpu).unwrap();
                let found = format.bad_scale(&blocks).unwrap();
                let wide = testkit::values(&ops::widened(&blocks).unwrap());
                let bad = wide.iter().any(|v| !v.is_finite());
                assert_eq!(found.is_some(), bad, "{format:?}, byte {at}");
                if let Some((nth, scale)) = found {
                    assert_eq!(nth, block);
                    assert!(!scale.is_finite());
                    n_scales += 1;
                }
            }
        }
        assert!(n_scales >= 3, "{format:?}");
    }
}
