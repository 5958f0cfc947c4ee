//! REINFORCE, MRT, RLOO and GRPO against their papers on a tabular policy, and golden values.
//!
//! Gradients are checked in f64; weights that `prepare` writes are f32.

mod golden;
mod group;
mod mrt;
mod reinforce;

use crate::algorithms::tabular::*;
use algorithms::{Algorithm, Experience, Scores, Totals, build};
use candle_core::{Device, Tensor};
use serde_json::{Value, json};

pub fn method(name: &str, config: Value) -> Box<dyn Algorithm> {
    build(name, &config, 0).unwrap()
}

/// With `kl_coef` and the like off.
pub fn bare(name: &str, mut config: Value) -> Box<dyn Algorithm> {
    config["eos_penalty"] = json!(0);
    config[if name == "grpo" { "beta" } else { "kl_coef" }] = json!(0);
    method(name, config)
}

/// Responses of one token to one prompt of the tabular policy, before any update.
pub fn answers(cells: &[usize], rewards: &[f64; 5]) -> Experience {
    let p = softmax(&LOGITS);
    let n = cells.len();
    Experience {
        lens: vec![1; n],
        prompt_key: vec![1; n],
        finished: vec![true; n],
        temperature: vec![1.0; n],
        score: cells.iter().map(|c| rewards[*c] as f32).collect(),
        sampled: vec![true; n],
        response_key: cells.iter().map(|c| *c as u64).collect(),
        logp_old: cells.iter().map(|c| p[*c].ln() as f32).collect(),
        logp_ref: cells.iter().map(|c| p[*c].ln() as f32).collect(),
        entropy: vec![0.0; n],
        ..Experience::default()
    }
}

/// The gradient with respect to the policy's logits of a step on those responses.
pub fn step(algorithm: &mut dyn Algorithm, cells: &[usize], rewards: &[f64; 5]) -> Vec<f64> {
    let (exp, _) = algorithm.prepare(answers(cells, rewards)).unwrap();
    let at: Vec<u32> = cells.iter().map(|c| *c as u32).collect();
    let at = Tensor::new(at, &Device::Cpu).unwrap();
    tabular(&LOGITS, |logp| {
        let logp = logp.index_select(&at, 0).unwrap();
        let scores = Scores {
            entropy: logp.zeros_like().unwrap(),
            logp,
        };
        algorithm
            .policy_loss(&scores, &exp, Totals::of(&exp))
            .unwrap()
            .loss
    })
}

/// Mean and total variance of the gradient of a step on two samples of the policy, over all pairs.
pub fn over_pairs(make: &dyn Fn() -> Box<dyn Algorithm>, rewards: &[f64; 5]) -> (Vec<f64>, f64) {
    let p = softmax(&LOGITS);
    let (mut expected, mut square) = (vec![0.0; 5], 0.0);
    for a in 0..5 {
        for b in 0..5 {
            let g = step(make().as_mut(), &[a, b], rewards);
            square += p[a] * p[b] * g.iter().map(|g| g * g).sum::<f64>();
            let terms = expected.iter_mut().zip(g);
            terms.for_each(|(e, g)| *e += p[a] * p[b] * g);
        }
    }
    let variance = square - expected.iter().map(|e| e * e).sum::<f64>();
    (expected, variance)
}

pub fn times(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().map(|v| v * by).collect()
}

#[test]
fn requirements_follow_the_settings() {
    let needs = |name: &str, config: Value| method(name, config).requirements();
    for name in ["reinforce", "mrt", "rloo"] {
        let default = needs(name, json!({"minibatches": 3}));
        assert!(
            default.reference && default.at_sampling_temperature && !default.critic,
            "{name}"
        );
        assert_eq!(
            (default.minibatches, default.whole_groups),
            (3, name == "mrt")
        );
        assert!(!needs(name, json!({"kl_coef": 0})).reference, "{name}");
    }
    let grpo = needs("grpo", json!({"epochs": 2, "minibatches": 3}));
    assert_eq!(
        (grpo.reference, grpo.epochs, grpo.minibatches),
        (true, 2, 3)
    );
    assert!(!needs("grpo", json!({"beta": 0})).reference);
    for name in ["reinforce", "mrt", "rloo", "grpo"] {
        let plan = method(name, json!({"samples": 3}))
            .plan(&[4, 5], 0)
            .unwrap();
        assert!(plan.iter().all(|p| p.n == 3 && p.temperature.is_none()) && plan.len() == 2);
    }
}

#[test]
fn errors_name_the_key_in_one_line() {
    #[track_caller]
    fn check(name: &str, config: Value, words: &[&str]) {
        let message = build(name, &config, 0).err().expect("refused").to_string();
        let named = words.iter().all(|word| message.contains(word));
        assert!(!message.contains('\n') && named, "{message}");
    }
    for name in ["reinforce", "mrt", "rloo", "grpo"] {
        check(
            name,
            json!({"samples": 0}),
            &["algorithm.samples = 0", "or more"],
        );
        check(
            name,
            json!({"sample": 2}),
            &["algorithm.sample", "algorithm.samples"],
        );
        check(
            name,
            json!({"minibatches": 0}),
            &["algorithm.minibatches = 0"],
        );
        check(
            name,
            json!({"eos_penalty": -1}),
            &["algorithm.eos_penalty = -1"],
        );
    }
    check(
        "reinforce",
        json!({"baseline": "mean"}),
        &["algorithm.baseline", "leave_one_out"],
    );
    check(
        "reinforce",
        json!({"baseline": "leave_one_out"}),
        &["algorithm.samples = 1", "2 or more"],
    );
    check(
        "reinforce",
        json!({"ema_decay": 1.0}),
        &["algorithm.ema_decay = 1"],
    );
    check("reinforce", json!({"fifo": 0}), &["algorithm.fifo = 0"]);
    check(
        "mrt",
        json!({"samples": 1}),
        &["algorithm.samples = 1", "reference_in_samples"],
    );
    assert!(
        build(
            "mrt",
            &json!({"samples": 1, "reference_in_samples": true}),
            0
        )
        .is_ok()
    );
    check("mrt", json!({"alpha": 0.0}), &["algorithm.alpha = 0"]);
    check("rloo", json!({"samples": 1}), &["algorithm.samples = 1"]);
    check("rloo", json!({"clip": 1.0}), &["algorithm.clip = 1"]);
    check(
        "grpo",
        json!({"kl_coef": 0.1}),
        &["unknown key \"algorithm.kl_coef\""],
    );
    check("grpo", json!({"clip": 0.0}), &["algorithm.clip = 0"]);
    check(
        "grpo",
        json!({"aggregation": "dr_grpo"}),
        &["algorithm.constant_length = 0", "rollout.max_new_tokens"],
    );
    check(
        "grpo",
        json!({"scale_rewards": "std"}),
        &["algorithm.scale_rewards", "group"],
    );
}
