//! Fresh adapters, their dropout and their settings.

use super::{CPU, ids, tiny};
use candle_core::Tensor;
use models::{Lora, LoraConfig};
use ops::Ragged;
use testkit::{assert_close, values};

#[test]
fn a_fresh_adapter_changes_nothing_and_trains_every_part() {
    let model = tiny("tied").model;
    let config = LoraConfig {
        targets: models::LoraTargets::names(
            ["q", "k", "v", "o", "gate", "up", "down"].map(|p| format!("{p}_proj")),
        ),
        dropout: 0.25,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &model, 9).unwrap();
    let (x, layout) = (ids(12, 0), Ragged::from_lens(&[5, 7]));
    let hidden = |lora: Option<&Lora>, dropout| model.hidden(&x, &layout, lora, dropout).unwrap();
    let bare = hidden(None, None);
    assert_close("fresh", &hidden(Some(&lora), None), &bare, 0.0);

    // A is uniform within ±1/sqrt(in)
    let a = values(&lora.tensors()[0].1);
    let bound = 1.0 / (32f64).sqrt();
    assert!(a.iter().all(|v| v.abs() <= bound) && a.iter().any(|v| v.abs() > 0.9 * bound));
    let again = Lora::init(&config, &model, 9).unwrap();
    assert_eq!(a, values(&again.tensors()[0].1));
    let other = Lora::init(&config, &model, 10).unwrap();
    assert_ne!(a, values(&other.tensors()[0].1));

    let trained = lora.trainable().unwrap();
    for (key, var) in trained.vars() {
        if key.contains("lora_B") {
            let ones = (var.ones_like().unwrap() * 0.05).unwrap();
            var.set(&ones).unwrap();
        }
    }
    // the original is not touched, a frozen view follows
    assert_close("original", &hidden(Some(&lora), None), &bare, 0.0);
    let view = trained.frozen();
    assert!(view.vars().is_empty());
    let on = hidden(Some(&trained), None);
    assert!(on.track_op());
    let seen = hidden(Some(&view), None);
    assert!(!seen.track_op(), "a frozen adapter records nothing");
    assert_close("view", &seen, &on.detach(), 0.0);

    // dropout: the seed decides, and no seed means none
    let drop = |seed| values(&hidden(Some(&trained), Some(seed)));
    assert_eq!(drop(1), drop(1));
    assert_ne!(drop(1), drop(2));
    assert_ne!(drop(1), values(&on));

    let weights = Tensor::arange(0f32, 32.0, CPU).unwrap();
    let loss = hidden(Some(&trained), Some(1)).broadcast_mul(&weights);
    let grads = loss.unwrap().sum_all().unwrap().backward().unwrap();
    for (key, var) in trained.vars() {
        let g = values(grads.get(var.as_tensor()).expect(&key));
        assert!(g.iter().all(|v| v.is_finite()), "{key}");
        assert!(g.iter().any(|v| *v != 0.0), "{key}");
    }
}

#[test]
fn dropout_keeps_the_mean() {
    // B is small and acts in the last layer only, so its effect is nearly linear: the mean over
    // seeds comes near the value without dropout
    let model = tiny("tied").model;
    let config = LoraConfig {
        targets: models::LoraTargets::names(["down_proj"]),
        dropout: 0.5,
        r: 1,
        alpha: 1.0,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &model, 2).unwrap().trainable().unwrap();
    for (key, var) in lora.vars() {
        if key.contains("layers.1") && key.contains("lora_B") {
            var.set(&(var.ones_like().unwrap() * 1e-3).unwrap())
                .unwrap();
        }
    }
    let lora = lora.frozen();
    let (x, layout) = (ids(6, 0), Ragged::from_lens(&[6]));
    let hidden = |lora: Option<&Lora>, seed| model.hidden(&x, &layout, lora, seed).unwrap();
    let bare = hidden(None, None);
    let effect = (hidden(Some(&lora), None) - &bare).unwrap();
    let n = 600;
    let mut sum = bare.zeros_like().unwrap();
    for seed in 0..n {
        sum = (sum + (hidden(Some(&lora), Some(seed)) - &bare).unwrap()).unwrap();
    }
    let mean = (sum / n as f64).unwrap();
    let size = |t: &Tensor| values(t).iter().map(|v| v * v).sum::<f64>().sqrt();
    let off = size(&(mean - &effect).unwrap()) / size(&effect);
    assert!(
        off < 0.15,
        "mean under dropout is off by {off:.3} of the effect"
    );
}

#[test]
fn a_target_that_matches_nothing_is_an_error() {
    let model = tiny("tied").model;
    let error = |config: LoraConfig| Lora::init(&config, &model, 0).unwrap_err().to_string();
    let config = LoraConfig {
        targets: models::LoraTargets::names(["q_proj", "query"]),
        ..LoraConfig::default()
    };
    let text = error(config);
    assert!(
        text.contains("\"query\" matches no layer") && text.contains("q_proj"),
        "{text}"
    );
    for (config, part) in [
        (
            LoraConfig {
                r: 0,
                ..LoraConfig::default()
            },
            "lora.r",
        ),
        (
            LoraConfig {
                targets: models::LoraTargets::Names(vec![]),
                ..LoraConfig::default()
            },
            "lora.targets is empty",
        ),
        (
            LoraConfig {
                dropout: 1.0,
                ..LoraConfig::default()
            },
            "lora.dropout",
        ),
        (
            LoraConfig {
                alpha: f64::NAN,
                ..LoraConfig::default()
            },
            "lora.alpha",
        ),
    ] {
        let text = error(config);
        assert!(text.contains(part), "{text}");
    }
}
