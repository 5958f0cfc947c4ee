//! Losses and gradients against PPO and an independent program (scripts/golden/ma_ppo.py).

use super::*;
use crate::algorithms::variants::prepare;
use algorithms::estimators::macros::lens;
use serde_json::json;
use testkit::{assert_close_slices, golden_json};

#[test]
fn macros_of_one_token_equal_ppo_bit_for_bit() {
    let configs = [
        json!({}),
        json!({"kl_controller": "adaptive", "kl_horizon": 20, "kl_estimator": "k3", "whiten_rewards": true}),
        json!({"gamma": 0.9, "lam": 0.7, "dual_clip": 1.5, "score_clip": 1.0, "value_clip": 0, "entropy_coef": 0.01}),
    ];
    let own = [
        json!({"ngram": 1}),
        json!({"ngram": 1, "ratio": "macro"}),
        json!({"ngram": 1, "ratio": "macro_mean", "value_weights": "position", "last_alone": true}),
        json!({"termination": "random", "lengths": [1], "length_repeats": 99, "value_weights": "last", "reward_sum": "mean"}),
    ];
    for (config, own) in configs.iter().flat_map(|c| own.iter().map(move |o| (c, o))) {
        let mut both = config.clone();
        both.as_object_mut()
            .unwrap()
            .extend(own.as_object().unwrap().clone());
        let (mut ppo, mut ma) = (build("ppo", config, 3).unwrap(), ma_ppo(both.clone()));
        for seed in 0..6 {
            let (exp, metrics) = prepare(ppo.as_mut(), seed);
            let (ma_exp, mut ma_metrics) = prepare(ma.as_mut(), seed);
            assert!(ma_exp.macro_start.iter().all(|start| *start), "{both}");
            let as_ppo = Experience {
                macro_start: exp.macro_start.clone(),
                ..ma_exp.clone()
            };
            assert_eq!(as_ppo, exp, "{both}");
            ma_metrics.retain(|name, _| !name.starts_with("macro/"));
            assert_eq!(ma_metrics, metrics, "{both}");
            let now = Now::near(&exp, seed + 9);
            let (found, wanted) = (
                loss(ma.as_ref(), &ma_exp, &now),
                loss(ppo.as_ref(), &exp, &now),
            );
            assert_eq!(found.loss.to_bits(), wanted.loss.to_bits(), "{both}");
            assert_eq!(
                (&found.d_logp, &found.d_values),
                (&wanted.d_logp, &wanted.d_values)
            );
            assert_eq!(found.metrics, wanted.metrics, "{both}");
            assert_eq!(ma.state(), ppo.state());
        }
    }
}

#[test]
fn ma_ppo_equals_the_golden_program() {
    let golden = golden_json("ma_ppo.json");
    let flags = |v: &Value| -> Vec<bool> {
        let list = v.as_array().unwrap().iter();
        list.map(|flag| flag.as_bool().unwrap()).collect()
    };
    for case in golden["cases"].as_array().unwrap() {
        let mut algorithm = ma_ppo(case["config"].clone());
        let (mut exp, now) = golden_batch(&golden["batch"]);
        if algorithm.requirements().clauses {
            exp.macro_start = flags(&golden["batch"]["clauses"]);
        }
        let (exp, _) = algorithm.prepare(exp).unwrap();
        assert_eq!(
            exp.macro_start,
            flags(&case["starts"]),
            "{}",
            case["config"]
        );
        let found = loss(algorithm.as_ref(), &exp, &now);
        let close = |name: &str, found: &[f64], wanted: &Value| {
            let name = format!("{}: {name}", case["config"]);
            assert_close_slices(&name, found, &numbers(wanted), 1e-6)
        };
        let policy = found.metrics["loss/policy"];
        let value = found.metrics["loss/value"];
        close("advantages", &wide(&exp.advantages), &case["advantages"]);
        close("returns", &wide(&exp.returns), &case["returns"]);
        close("loss", &[found.loss], &json!([case["loss"]]));
        close("loss/policy", &[policy], &json!([case["policy_loss"]]));
        close("loss/value", &[value], &json!([case["value_loss"]]));
        close("d/dlogp", &found.d_logp, &case["grad_logp"]);
        close("d/dvalues", &found.d_values, &case["grad_values"]);
    }
}

#[test]
fn the_first_ma_ppo_update_is_a_policy_gradient() {
    for ratio in ["token", "macro", "macro_mean"] {
        let config = json!({"ngram": 3, "ratio": ratio});
        let mut algorithm = ma_ppo(config);
        let (exp, _) = prepare(algorithm.as_mut(), 4);
        let now = Now {
            logp: wide(&exp.logp_old),
            values: wide(&exp.values),
            entropy: wide(&exp.entropy),
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        assert_eq!(
            (
                found.metrics["policy/approxkl"],
                found.metrics["policy/clipfrac"]
            ),
            (0.0, 0.0)
        );
        assert_close_slices("ratio", &[found.metrics["policy/ratio"]], &[1.0], 1e-12);
        let lens = lens(&exp.macro_start);
        let weights: Vec<f64> = match ratio {
            "token" => vec![1.0 / exp.n_tokens() as f64; exp.n_tokens()],
            "macro" => vec![1.0 / lens.len() as f64; exp.n_tokens()],
            _ => {
                let of = |n: &usize| vec![1.0 / (*n * lens.len()) as f64; *n];
                lens.iter().flat_map(of).collect()
            }
        };
        let wanted: Vec<f64> = exp
            .advantages
            .iter()
            .zip(weights)
            .map(|(a, w)| -f64::from(*a) * w)
            .collect();
        assert_close_slices("−A w", &found.d_logp, &wanted, 1e-12);
    }
}
