//! ESRL's steps: estimates, plans, memory, baseline, ledger, and the released mode; and an
//! independent program (scripts/golden/algorithms.py).

use super::support::*;
use algorithms::{Algorithm, build};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

fn esrl(config: Value) -> Box<dyn Algorithm> {
    build("esrl", &config, 0).unwrap()
}

#[test]
fn esrl_equals_the_golden_program() {
    for (i, case) in golden_json("algorithms.json")["esrl"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let mut algorithm = build("esrl", &case["config"], 0).unwrap();
        algorithm.restore(&case["state"]).unwrap();
        let prompts: Vec<u64> = case["prompts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_u64().unwrap())
            .collect();
        let plan = algorithm.plan(&prompts, 0).unwrap();
        let (exp, now) = golden_batch(&case["batch"]);
        let (exp, metrics) = algorithm.prepare(exp).unwrap();
        let found = loss(algorithm.as_ref(), &exp, &now);
        let close = |name: &str, found: &[f64], wanted: &Value| {
            assert_close_slices(&format!("case {i}: {name}"), found, &numbers(wanted), 1e-6)
        };
        close(
            "k",
            &plan.iter().map(|p| p.n as f64).collect::<Vec<_>>(),
            &case["k"],
        );
        close(
            "tau",
            &plan
                .iter()
                .map(|p| p.temperature.unwrap() as f64)
                .collect::<Vec<_>>(),
            &case["tau"],
        );
        close("weight", &wide(&exp.weight), &case["weight"]);
        close(
            "baseline",
            &[metrics["esrl/baseline"]],
            &json!([case["baseline"]]),
        );
        close("loss", &[found.loss], &json!([case["loss"]]));
        close("d/dlogp", &found.d_logp, &case["grad_logp"]);
    }
}

#[test]
fn a_prompt_is_estimated_once_and_remembered() {
    for capability in ["reward", "entropy", "full_entropy", "bleu", "rouge"] {
        let mut algorithm = esrl(json!({"capability": capability, "k_max": 4}));
        assert_eq!(algorithm.prompts_to_estimate(&[5, 6, 5, 7]), [5, 6, 7]);
        algorithm.observe(&[estimate(5, 1.0), estimate(6, 0.0), estimate(7, 0.5)]);
        for step in 0..3 {
            assert!(algorithm.prompts_to_estimate(&[7, 6, 5]).is_empty());
            let plan = algorithm.plan(&[5, 6, 7], step).unwrap();
            let exp = experience(
                &[5, 6, 7],
                &plan.iter().map(|p| p.n).collect::<Vec<_>>(),
                step,
            );
            let (_, metrics) = algorithm.prepare(exp).unwrap();
            assert_eq!(
                metrics["esrl/greedy_drawn"],
                if step == 0 { 3.0 } else { 0.0 }
            );
        }
        assert_eq!(algorithm.prompts_to_estimate(&[5, 8]), [8]);
        let resumed = algorithm.state();
        let mut algorithm = esrl(json!({"capability": capability, "k_max": 4}));
        algorithm.restore(&resumed).unwrap();
        assert_eq!(algorithm.prompts_to_estimate(&[5, 8]), [8]);
    }
    assert!(
        esrl(json!({"capability": "random"}))
            .prompts_to_estimate(&[1, 2])
            .is_empty()
    );
}

#[test]
fn the_samples_of_a_step_plan_the_next() {
    let mut algorithm = esrl(json!({"k_max": 10, "normalise": "none"}));
    algorithm.observe(&[estimate(1, 1.0), estimate(2, 1.0)]);
    let n = |a: &mut Box<dyn Algorithm>| {
        a.plan(&[1, 2], 0)
            .unwrap()
            .iter()
            .map(|p| p.n)
            .collect::<Vec<_>>()
    };
    assert_eq!(n(&mut algorithm), [7, 7]);
    let mut exp = experience(&[1, 2], &[2, 2], 1);
    exp.score = vec![2.0, 4.0, 0.5, 1.5]; // means 3 and 1
    algorithm.prepare(exp).unwrap();
    assert_eq!(
        algorithm.state()["memory"]["1"],
        json!({"capability": 3.0, "reward": 3.0})
    );
    assert_eq!(n(&mut algorithm), [6, 9]); // ⌈10 − 3·1.5⌉ and ⌈10 − 3·0.5⌉
    let plan = algorithm.plan(&[1, 2], 0).unwrap();
    assert_close_slices(
        "τ",
        &[plan[0].temperature.unwrap().into()],
        &[0.6 + 0.6 * 0.4],
        1e-6,
    );
}

#[test]
fn random_sample_counts_are_uniform_and_repeatable() {
    let plan = |seed: u64, step: u64| {
        let mut algorithm =
            build("esrl", &json!({"capability": "random", "k_max": 4}), seed).unwrap();
        algorithm
            .plan(&(0..1000).collect::<Vec<_>>(), step)
            .unwrap()
            .iter()
            .map(|p| p.n)
            .collect::<Vec<_>>()
    };
    assert_eq!(plan(1, 2), plan(1, 2));
    assert_ne!(plan(1, 2), plan(1, 3));
    assert_ne!(plan(1, 2), plan(2, 2));
    for k in 1..=4 {
        let share = plan(1, 2).iter().filter(|n| **n == k).count();
        assert!((200..300).contains(&share), "{k}: {share}");
    }
}

#[test]
fn equal_rewards_give_esrl_no_gradient() {
    for mode in ["paper", "corrected"] {
        let mut algorithm =
            esrl(json!({"mode": mode, "kl_coef": 0.0, "eos_penalty": 0.0, "prompt_baseline": 0.0}));
        let mut exp = experience(&[1, 2, 3], &[4, 1, 2], 3);
        exp.score.iter_mut().for_each(|s| *s = 0.75);
        let (exp, metrics) = algorithm.prepare(exp).unwrap();
        assert_eq!(
            (metrics["esrl/baseline"], metrics["esrl/reward_scale"]),
            (0.75, 1.0)
        );
        let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3));
        assert!(found.d_logp.iter().all(|g| *g == 0.0), "{mode}");
    }
}

#[test]
fn the_baseline_affects_only_single_samples() {
    let gradient = |baseline: bool, sizes: &[usize]| {
        let mut algorithm = esrl(json!({"mode": "paper", "baseline": baseline}));
        let (exp, _) = algorithm.prepare(experience(&[1, 2, 3], sizes, 3)).unwrap();
        loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3)).d_logp
    };
    assert_close_slices(
        "k > 1",
        &gradient(true, &[4, 2, 3]),
        &gradient(false, &[4, 2, 3]),
        1e-8,
    );
    let (with, without) = (gradient(true, &[4, 1, 3]), gradient(false, &[4, 1, 3]));
    assert!(with.iter().zip(&without).any(|(a, b)| (a - b).abs() > 1e-3));
}

#[test]
fn a_single_sample_without_a_record_is_trained_on() {
    // the first step of random capability: no record, one sample each
    let mut algorithm = esrl(json!({"capability": "random", "k_max": 1}));
    algorithm.plan(&[1, 2, 3], 0).unwrap();
    let (exp, metrics) = algorithm
        .prepare(experience(&[1, 2, 3], &[1, 1, 1], 3))
        .unwrap();
    assert!(!algorithm.requirements().whole_groups);
    assert_eq!(
        (
            metrics["esrl/reinforce_prompts"],
            metrics["esrl/mrt_prompts"]
        ),
        (3.0, 0.0)
    );
    assert!(
        loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3))
            .d_logp
            .iter()
            .all(|g| *g != 0.0)
    );
}

#[test]
fn the_ledger_counts_samples_and_tokens() {
    let mut algorithm = esrl(json!({"k_max": 10, "normalise": "none", "k_floor": 0}));
    algorithm.observe(&[estimate(1, 0.1), estimate(2, 0.1), estimate(3, 10.0)]);
    let n: Vec<usize> = algorithm
        .plan(&[1, 2, 3], 0)
        .unwrap()
        .iter()
        .map(|p| p.n)
        .collect();
    assert_eq!(n, [10, 10, 2]);
    let exp = experience(&[1, 2, 3], &n, 1);
    let tokens = exp.n_tokens() as f64;
    let (_, metrics) = algorithm.prepare(exp).unwrap();
    for (name, value) in [
        ("esrl/samples_drawn", 22.0),
        ("esrl/samples_full", 30.0),
        ("esrl/greedy_drawn", 3.0),
        ("esrl/samples_saved_frac", 5.0 / 30.0),
        ("esrl/tokens_drawn", tokens),
        ("esrl/mrt_prompts", 3.0),
        ("esrl/skipped_prompts", 0.0),
        ("esrl/k_mean", 22.0 / 3.0),
    ] {
        assert_close_slices(name, &[metrics[name]], &[value], 1e-12);
    }
}

#[test]
fn esrl_requirements_follow_mode_and_settings() {
    let needs = |config: Value| esrl(config).requirements();
    let paper = needs(json!({"mode": "paper"}));
    assert!(
        !paper.reference && !paper.critic && paper.whole_groups && !paper.at_sampling_temperature
    );
    let corrected = needs(json!({}));
    assert!(
        corrected.reference
            && !corrected.critic
            && corrected.whole_groups
            && corrected.at_sampling_temperature
    );
    let released = needs(json!({"mode": "released"}));
    assert!(released.reference && released.critic && !released.whole_groups);
    assert_eq!(
        needs(json!({"capability": "bleu"})).text_metric,
        Some(algorithms::TextMetric::Bleu)
    );
    assert_eq!(
        needs(json!({"capability": "rouge"})).text_metric,
        Some(algorithms::TextMetric::RougeL)
    );
}

/// When responses are scored untempered, the sampler's tempered log-probs must not replace the
/// policy's own.
#[test]
fn log_probs_are_recomputed_when_scoring_is_untempered() {
    let recompute = |config: Value| {
        build("esrl", &config, 1)
            .unwrap()
            .requirements()
            .recompute_logp_old
    };
    assert!(!recompute(json!({ "mode": "paper" })));
    assert!(recompute(
        json!({ "mode": "paper", "capability": "entropy" })
    ));
    assert!(recompute(json!({ "mode": "paper", "kl_coef": 0.1 })));
    assert!(recompute(
        json!({ "mode": "paper", "length_normalise": true })
    ));
    assert!(!recompute(json!({ "mode": "corrected" })));
}

#[test]
fn released_mode_drops_the_most_confident_responses() {
    let mut algorithm = esrl(json!({"mode": "released"}));
    let n = |a: &mut Box<dyn Algorithm>, keys: &[u64]| {
        a.plan(keys, 0).unwrap().iter().map(|p| p.n).sum::<usize>()
    };
    assert_eq!(n(&mut algorithm, &[1, 2, 3, 4]), 4);
    let with = |confidence: &[f32]| {
        let mut exp = experience(
            &(0..confidence.len() as u64).collect::<Vec<_>>(),
            &vec![1; confidence.len()],
            1,
        );
        let lens = exp.lens.clone();
        exp.max_prob = lens
            .iter()
            .zip(confidence)
            .flat_map(|(len, p)| vec![*p; *len])
            .collect();
        exp
    };
    // 4 rows: ⌈1.2⌉ = 2 go, whatever their lengths
    assert_eq!(
        algorithm.keep(&with(&[0.9, 0.2, 0.5, 0.8])),
        [false, true, true, false]
    );
    assert_eq!(algorithm.keep(&with(&[0.5; 4])), [false, false, true, true]);
    assert_eq!(
        algorithm.keep(&with(&[0.5])),
        [true],
        "one row always stays"
    );
    let kept = |n: usize| {
        algorithm.keep(&with(
            &uniform(n, 1).iter().map(|u| *u as f32).collect::<Vec<_>>(),
        ))
    };
    for (n, dropped) in [(8, 3), (10, 3), (11, 4)] {
        assert_eq!(kept(n).iter().filter(|k| !**k).count(), dropped);
    }
    let (_, metrics) = algorithm.prepare(with(&[0.2, 0.5])).unwrap();
    assert_eq!(
        (
            metrics["esrl/samples_drawn"],
            metrics["esrl/samples_dropped"]
        ),
        (4.0, 2.0)
    );
    assert_eq!(metrics["objective/kl_coef"], 0.1);
    // of 2 prompts with 3 samples ⌈1.8⌉ go
    let mut algorithm = esrl(json!({"mode": "released", "ppo": {"samples": 3}}));
    assert_eq!(n(&mut algorithm, &[1, 2]), 6);
    let six = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
    let kept = algorithm.keep(&with(&six)).iter().filter(|k| **k).count();
    assert_eq!(kept, 4);
    let (_, metrics) = algorithm.prepare(with(&six[..kept])).unwrap();
    let [drawn, dropped] = ["drawn", "dropped"].map(|m| metrics[&format!("esrl/samples_{m}")]);
    assert_eq!((drawn, dropped), (6.0, 2.0));
}
