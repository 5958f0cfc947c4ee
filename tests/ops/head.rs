//! The vocabulary head and the sampler's weights: against the reference and closed forms.

use super::{f32s, stacked, targets, temperatures};
use candle_core::{DType, Device, Tensor};
use ops::reference;
use testkit::{assert_close, assert_close_slices, assert_same, gradients, values, varied};

#[test]
fn token_scores_equal_the_reference() {
    // vocabularies around the tile of 512, rows around the block of 256 and the skinny limit
    for (m, d, vocab) in [(1, 8, 5), (3, 16, 511), (40, 12, 1300), (300, 8, 513)] {
        let (targets, temperature) = (targets(m, vocab), temperatures(m));
        let inputs = [varied(&[m, d], 24, 1.5), varied(&[vocab, d], 25, 1.0)];
        let plain = |x: &[Tensor]| {
            stacked(reference::token_scores(
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
            |x: &[Tensor]| Ok(reference::token_scores(&x[0], &x[1], &targets, &temperature)?.logp);
        assert_same(&name, only_logp, plain, &inputs, 5e-5);

        let fused = |x: &[Tensor]| ops::token_scores_trainable(&x[0], &x[1], &targets);
        let plain = |x: &[Tensor]| reference::token_scores_trainable(&x[0], &x[1], &targets);
        assert_same(&name, fused, plain, &inputs, 5e-5);
    }
}

#[test]
fn token_scores_without_labels_are_empty() {
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
fn compared_scores_equal_both_scores_and_kl_is_never_negative() {
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
            reference::compared_scores(&wide(&p), &wide(&q), &wide(&head), &targets, &temperature)
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
fn softmax_weights_equal_those_of_f64() {
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
