//! Rewards, values and advantages of macro actions.

use super::*;
use algorithms::estimators::macros::{RewardSum, Smdp, ValueWeights};
use algorithms::estimators::mean;
use serde_json::json;
use testkit::assert_close_slices;

const EQUAL: Smdp = Smdp {
    weights: ValueWeights::Equal,
    sum: RewardSum::Sum,
    gamma: 1.0,
    lam: 0.95,
};

const WEIGHTS: [ValueWeights; 3] = [
    ValueWeights::Equal,
    ValueWeights::Last,
    ValueWeights::Position,
];

/// Ways to cut eleven tokens.
const CUTS: [&[usize]; 5] = [&[1; 11], &[5, 5, 1], &[2, 3, 1, 4, 1], &[10, 1], &[11]];

fn rewards_and_values(seed: u64) -> (Vec<f64>, Vec<f64>) {
    let around_zero = |seed| uniform(11, seed).iter().map(|u| u - 0.5).collect();
    (around_zero(seed), around_zero(seed + 1))
}

#[test]
fn value_weights_sum_to_one() {
    for weights in WEIGHTS {
        for n in 1..40 {
            let sum: f64 = weights.of(n).iter().sum();
            assert_close_slices("Σσ", &[sum], &[1.0], 1e-12);
        }
        assert_eq!(weights.of(1), [1.0]);
    }
    assert_eq!(ValueWeights::Last.of(3), [0.0, 0.0, 1.0]);
    assert_close_slices(
        "position",
        &ValueWeights::Position.of(3),
        &[6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0],
        1e-12,
    );
    let of = |weights| {
        let smdp = Smdp { weights, ..EQUAL };
        smdp.actions(&[0.0; 3], &[2.0, 5.0, 11.0], &[3]).1[0]
    };
    let wanted = [6.0, 11.0, (12.0 + 15.0 + 22.0) / 11.0];
    assert_close_slices("V", &WEIGHTS.map(of), &wanted, 1e-12);
}

#[test]
fn macro_rewards_sum_to_token_rewards() {
    let (rewards, values) = rewards_and_values(3);
    let total: f64 = rewards.iter().sum();
    for lens in CUTS {
        let (sums, _) = EQUAL.actions(&rewards, &values, lens);
        assert_close_slices("Σ R", &[sums.iter().sum()], &[total], 1e-12);
        let means = Smdp {
            sum: RewardSum::Mean,
            ..EQUAL
        };
        let (means, _) = means.actions(&rewards, &values, lens);
        let wanted: Vec<f64> = sums
            .iter()
            .zip(lens)
            .map(|(sum, n)| sum / *n as f64)
            .collect();
        assert_close_slices("mean", &means, &wanted, 1e-12);
    }
}

#[test]
fn with_lambda_1_the_advantage_is_return_minus_value() {
    // λ = 1, and any γ: Σ_t γ^(t−start) r_t − V of the macro action
    let (rewards, values) = rewards_and_values(7);
    for (gamma, weights) in [1.0, 0.9].iter().flat_map(|g| WEIGHTS.map(|w| (*g, w))) {
        let smdp = Smdp {
            weights,
            gamma,
            lam: 1.0,
            ..EQUAL
        };
        for lens in CUTS {
            let (advantages, returns) = smdp.gae(&rewards, &values, lens);
            let (_, of_actions) = smdp.actions(&rewards, &values, lens);
            let mut at = 0;
            for (n, value) in lens.iter().zip(of_actions) {
                let to_go: f64 = (at..11)
                    .map(|t| gamma.powi((t - at) as i32) * rewards[t])
                    .sum();
                assert_close_slices("A", &[advantages[at]], &[to_go - value], 1e-12);
                assert_close_slices("return", &[returns[at]], &[to_go], 1e-12);
                at += n;
            }
        }
    }
    // so without values every cut gives the same at its first tokens
    let smdp = Smdp { lam: 1.0, ..EQUAL };
    let (by_token, _) = smdp.gae(&rewards, &[0.0; 11], CUTS[0]);
    for lens in CUTS {
        let (found, _) = smdp.gae(&rewards, &[0.0; 11], lens);
        let firsts = lens
            .iter()
            .scan(0, |at, n| Some(std::mem::replace(at, *at + n)));
        for at in firsts {
            assert_close_slices("V = 0", &[found[at]], &[by_token[at]], 1e-12);
        }
    }
}

#[test]
fn a_single_macro_makes_a_bandit() {
    // n ≥ T: one advantage, the whole reward less the mean value
    for config in [
        json!({"ngram": 6}),
        json!({"ngram": 900}),
        json!({"termination": "whole"}),
    ] {
        let mut config = config;
        config["whiten_advantages"] = json!(false);
        config["kl_coef"] = json!(0.2);
        let exp = experience(&[1, 2, 3, 4], &[2; 4], 12);
        let (found, metrics) = ma_ppo(config).prepare(exp).unwrap();
        let mut rewards = Vec::new();
        for (row, tokens) in found.layout().ranges().enumerate() {
            let kl = tokens
                .clone()
                .map(|t| f64::from(found.logp_old[t] - found.logp_ref[t]));
            let eos = if found.finished[row] { 0.0 } else { 1.0 };
            let reward = f64::from(found.score[row]) - eos - 0.2 * kl.sum::<f64>();
            let value = mean(&wide(&found.values[tokens.clone()]));
            let wanted = vec![reward - value; tokens.len()];
            assert_close_slices("A", &wide(&found.advantages[tokens]), &wanted, 1e-6);
            rewards.push(reward);
        }
        assert_close_slices(
            "reward",
            &[metrics["objective/rlhf_reward"]],
            &[mean(&rewards)],
            1e-6,
        );
    }
}
