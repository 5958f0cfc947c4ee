//! PPO against its paper and an independent program (scripts/golden/algorithms.py).

use super::support::*;
use super::variants::prepare;
use algorithms::estimators::mean;
use algorithms::{Algorithm, build};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

fn ppo(config: Value) -> Box<dyn Algorithm> {
    build("ppo", &config, 0).unwrap()
}

#[test]
fn ppo_equals_the_golden_program() {
    for (i, case) in golden_json("algorithms.json")["ppo"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let mut algorithm = build("ppo", &case["config"], 0).unwrap();
        let (exp, now) = golden_batch(&case["batch"]);
        let (exp, _) = algorithm.prepare(exp).unwrap();
        let found = loss(algorithm.as_ref(), &exp, &now);
        let close = |name: &str, found: &[f64], wanted: &Value| {
            assert_close_slices(&format!("case {i}: {name}"), found, &numbers(wanted), 1e-6)
        };
        close("advantages", &wide(&exp.advantages), &case["advantages"]);
        close("returns", &wide(&exp.returns), &case["returns"]);
        close("loss", &[found.loss], &json!([case["loss"]]));
        close(
            "loss/policy",
            &[found.metrics["loss/policy"]],
            &json!([case["policy_loss"]]),
        );
        close(
            "loss/value",
            &[found.metrics["loss/value"]],
            &json!([case["value_loss"]]),
        );
        close(
            "policy/approxkl",
            &[found.metrics["policy/approxkl"]],
            &json!([case["approxkl"]]),
        );
        close("d/dlogp", &found.d_logp, &case["grad_logp"]);
        close("d/dvalues", &found.d_values, &case["grad_values"]);
    }
}

#[test]
fn ppo_plans_the_configured_samples() {
    for name in ["ppo", "ma_ppo"] {
        let mut algorithm = build(name, &json!({"samples": 3}), 0).unwrap();
        assert_eq!(algorithm.requirements().max_samples, 3);
        let plan = algorithm.plan(&[7, 8], 0).unwrap();
        assert_eq!(plan.iter().map(|p| p.n).collect::<Vec<_>>(), [3, 3]);
        assert!(plan.iter().all(|p| p.temperature.is_none()));
    }
}

#[test]
fn the_first_ppo_update_is_a_policy_gradient() {
    let mut algorithm = ppo(json!({"entropy_coef": 0.0}));
    let (exp, _) = prepare(algorithm.as_mut(), 4);
    let now = Now {
        logp: wide(&exp.logp_old),
        values: wide(&exp.values),
        entropy: wide(&exp.entropy),
    };
    let found = loss(algorithm.as_ref(), &exp, &now);
    for (metric, value) in [
        ("policy/ratio", 1.0),
        ("policy/ratio_var", 0.0),
        ("policy/approxkl", 0.0),
        ("policy/clipfrac", 0.0),
    ] {
        assert_close_slices(metric, &[found.metrics[metric]], &[value], 1e-12);
    }
    let n = exp.n_tokens() as f64;
    let wanted: Vec<f64> = exp.advantages.iter().map(|a| -f64::from(*a) / n).collect();
    assert_close_slices("−A/n", &found.d_logp, &wanted, 1e-14);
}

#[test]
fn ppo_rewards_sum_to_score_minus_kl() {
    // with V = 0 and γ = λ = 1 the first return of a row is the sum of its rewards
    for (penalty, mode) in [(0.0, "subtract"), (1.5, "subtract"), (1.5, "replace")] {
        let config = json!({"kl_coef": 0.3, "gamma": 1.0, "lam": 1.0, "eos_penalty": penalty, "eos_penalty_mode": mode});
        let mut exp = experience(&[1, 2, 3], &[1, 1, 1], 5);
        exp.values.iter_mut().for_each(|v| *v = 0.0);
        let (exp, metrics) = ppo(config).prepare(exp).unwrap();
        let mut sums = Vec::new();
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let kl: f64 = tokens
                .clone()
                .map(|t| f64::from(exp.logp_old[t] - exp.logp_ref[t]))
                .sum();
            let score = f64::from(exp.score[row]);
            let score = match (exp.finished[row], mode) {
                (true, _) => score,
                (false, "replace") => -penalty,
                (false, _) => score - penalty,
            };
            sums.push(score - 0.3 * kl);
            assert_close_slices(
                "return",
                &[f64::from(exp.returns[tokens.start])],
                &[sums[row]],
                1e-6,
            );
        }
        assert_close_slices(
            "rlhf_reward",
            &[metrics["objective/rlhf_reward"]],
            &[mean(&sums)],
            1e-6,
        );
    }
}

#[test]
fn adaptive_kl_moves_the_coefficient_after_the_step() {
    let mut algorithm = ppo(
        json!({"kl_coef": 0.1, "kl_controller": "adaptive", "kl_target": 1e-3, "kl_horizon": 30}),
    );
    let mut exp = experience(&[1, 2, 3], &[1, 1, 1], 5);
    exp.logp_ref = exp.logp_old.iter().map(|l| l - 1.0).collect();
    let (_, metrics) = algorithm.prepare(exp.clone()).unwrap();
    assert_eq!(metrics["objective/kl_coef"], 0.1);
    assert_close_slices(
        "kl",
        &[metrics["objective/kl"]],
        &[exp.n_tokens() as f64 / 3.0],
        1e-6,
    );
    let (_, metrics) = algorithm.prepare(exp).unwrap();
    assert_close_slices(
        "coef",
        &[metrics["objective/kl_coef"]],
        &[0.1 * (1.0 + 0.2 * 3.0 / 30.0)],
        1e-7,
    );
}

#[test]
fn a_perfect_critic_leaves_ppo_no_policy_gradient() {
    let mut exp = experience(&[1, 2, 3], &[1, 1, 1], 6);
    exp.score = vec![2.0; 3];
    exp.finished = vec![true; 3];
    exp.values.iter_mut().for_each(|v| *v = 2.0);
    let mut algorithm = ppo(json!({"kl_coef": 0.0}));
    let (exp, _) = algorithm.prepare(exp).unwrap();
    assert!(exp.advantages.iter().all(|a| *a == 0.0) && exp.returns.iter().all(|r| *r == 2.0));
    let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3));
    assert!(found.d_logp.iter().all(|g| *g == 0.0));
}
