//! Sampling from matrices with fewer bits.

use super::{adapter, model};
use candle_core::Tensor;
use models::{CausalLm, Lora, SamplingWeights};
use ops::Ragged;

#[test]
fn fewer_bits_change_little_and_leave_the_adapter_exact() {
    let model = model();
    let lora = adapter(&model);
    let ids: Vec<u32> = (0..40).map(|i| 3 + i * 37 % 90).collect();
    let layout = Ragged::from_lens(&[ids.len()]);
    let hidden = |m: &CausalLm, lora: Option<&Lora>| m.hidden(&ids, &layout, lora, None).unwrap();
    let apart = |a: &Tensor, b: &Tensor| {
        let (a, b) = (testkit::values(a), testkit::values(b));
        let square = |x: f64| x * x;
        let gap: f64 = a.iter().zip(&b).map(|(a, b)| square(a - b)).sum();
        (gap / b.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
    };
    for (weights, least, most) in [
        (SamplingWeights::Same, 0.0, 1e-12),
        (SamplingWeights::Bf16, 1e-4, 1e-2),
        (SamplingWeights::Int8, 1e-4, 3e-2),
    ] {
        let narrow = model.with_sampling_weights(weights).unwrap();
        assert_eq!(narrow.is_none(), weights == SamplingWeights::Same);
        let narrow = narrow.as_ref().unwrap_or(&model);
        let gap = apart(&hidden(narrow, Some(&lora)), &hidden(&model, Some(&lora)));
        assert!((least..=most).contains(&gap), "{weights:?}: {gap}");
        // once narrow, they stay so, and nothing is taken twice
        let again = |weights| narrow.with_sampling_weights(weights).unwrap();
        assert!(again(SamplingWeights::Same).is_none());
        // the tied head is a matrix of its own beside the embedding
        let wide = 4 * (model.n_params() - 5 * 32);
        match weights {
            SamplingWeights::Same => {}
            SamplingWeights::Bf16 => {
                assert_eq!(narrow.extra_bytes(&model), wide / 2);
                assert!(again(weights).is_none());
            }
            SamplingWeights::Int8 => {
                let bytes = narrow.extra_bytes(&model);
                assert!((wide / 4..wide / 3).contains(&bytes), "{bytes} of {wide}");
            }
        }
    }
    // with matrices of zeros the low-rank part is all there is: bit for bit
    let mut zeros = model;
    for (name, var) in zeros.make_trainable().unwrap() {
        if name.contains("_proj") {
            var.set(&var.zeros_like().unwrap()).unwrap();
        }
    }
    for weights in [SamplingWeights::Bf16, SamplingWeights::Int8] {
        let narrow = zeros.with_sampling_weights(weights).unwrap().unwrap();
        let (a, b) = (hidden(&narrow, Some(&lora)), hidden(&zeros, Some(&lora)));
        assert_eq!(apart(&a, &b.detach()), 0.0, "{weights:?}");
    }
}
