//! MA-PPO: PPO where macro actions are single tokens, the termination conditions, the advantages of macro actions, and losses and
//! gradients of scripts/golden/ma_ppo.py.

use crate::algorithms::support::*;
use algorithms::estimators::macros::{RewardSum, Smdp, ValueWeights, by_perplexity, cut, lens};
use algorithms::estimators::mean;
use algorithms::ma_ppo::Termination;
use algorithms::{Algorithm, Experience, build};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

const TERMINATIONS: [Termination; 5] = [
    Termination::Ngram,
    Termination::Random,
    Termination::Perplexity,
    Termination::Parsing,
    Termination::Whole,
];

fn ma_ppo(config: Value) -> Box<dyn Algorithm> {
    build("ma_ppo", &config, 3).unwrap()
}

/// Two responses of 24 tokens.
fn long_responses() -> Experience {
    let exp = experience(&[1], &[20], 2);
    let first = |column: &[f32]| column[..48].to_vec();
    Experience {
        lens: vec![24; 2],
        prompt_key: vec![1; 2],
        response_key: vec![5, 6],
        finished: vec![true; 2],
        score: exp.score[..2].to_vec(),
        logp_old: first(&exp.logp_old),
        logp_ref: first(&exp.logp_ref),
        values: first(&exp.values),
        ..Experience::default()
    }
}

// ---- against PPO and the independent program

#[test]
fn single_tokens_make_it_ppo_to_the_bit() {
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

// ---- where macro actions begin

#[test]
fn each_termination_cuts_where_its_line_says() {
    /// The lengths of the macros of a response of which the reference says this.
    #[track_caller]
    fn check(config: Value, logp_ref: &[f32], wanted: &[usize]) {
        let n = logp_ref.len();
        let exp = Experience {
            lens: vec![n],
            prompt_key: vec![1],
            response_key: vec![2],
            finished: vec![true],
            score: vec![1.0],
            logp_old: vec![-1.0; n],
            logp_ref: logp_ref.to_vec(),
            values: vec![0.0; n],
            ..Experience::default()
        };
        let (exp, _) = ma_ppo(config.clone()).prepare(exp).unwrap();
        assert_eq!(lens(&exp.macro_start), wanted, "{config}");
    }
    for (n, wanted, alone) in [
        (7, vec![3, 3, 1], vec![3, 3, 1]),
        (6, vec![3, 3], vec![3, 2, 1]),
        (3, vec![3], vec![2, 1]),
        (1, vec![1], vec![1]),
        (0, vec![], vec![]),
    ] {
        let logp = vec![-1.0; n];
        check(json!({"ngram": 3}), &logp, &wanted);
        check(json!({"ngram": 3, "last_alone": true}), &logp, &alone);
    }
    let whole = |last_alone: bool| json!({"termination": "whole", "last_alone": last_alone});
    check(whole(false), &[-1.0; 5], &[5]);
    check(whole(true), &[-1.0; 5], &[4, 1]);
    // perplexities e, e², e², e³, e, e²: rises at 1, 3 and 5
    let by = |early: bool| json!({"termination": "perplexity", "perplexity_early": early});
    let logp = [-1.0, -2.0, -2.0, -3.0, -1.0, -2.0];
    check(by(false), &logp, &[1, 2, 2, 1]);
    check(by(true), &logp, &[2, 2, 2]);
    for early in [false, true] {
        check(by(early), &[-0.7; 6], &[6]);
        assert_eq!(by_perplexity(&[-0.7], early), [true]);
        assert!(by_perplexity(&[], early).is_empty());
    }
    // lengths as they come, and one macro after them
    assert_eq!(lens(&cut(12, [2, 3])), [2, 3, 7]);
    assert_eq!(lens(&cut(4, [2, 3, 9])), [2, 2]);
    assert_eq!(lens(&cut(5, [2, 3])), [2, 3]);
    // each length as often as it is dealt
    let config = json!({"termination": "random", "lengths": [1, 2, 4], "length_repeats": 3});
    let (exp, _) = ma_ppo(config).prepare(long_responses()).unwrap();
    let mut dealt = lens(&exp.macro_start[..24]);
    assert_eq!(dealt.pop(), Some(3));
    assert_ne!(dealt, [1, 2, 4, 1, 2, 4, 1, 2, 4]);
    dealt.sort_unstable();
    assert_eq!(dealt, [1, 1, 1, 2, 2, 2, 4, 4, 4]);
}

#[test]
fn macro_actions_cover_each_response_and_none_is_empty() {
    let settings = [false, true].into_iter().flat_map(|last_alone| {
        TERMINATIONS.map(
            |termination| json!({"termination": termination, "last_alone": last_alone, "ngram": 3}),
        )
    });
    for config in settings {
        for seed in 0..20 {
            let exp = experience(&[1, 2, 3, 4], &[2; 4], seed);
            let (exp, metrics) = ma_ppo(config.clone()).prepare(exp).unwrap();
            let mut counts = Vec::new();
            for tokens in exp.layout().ranges() {
                let starts = &exp.macro_start[tokens.clone()];
                let lens = lens(starts);
                assert!(starts[0], "{config}: a response begins a macro action");
                assert_eq!(lens.iter().sum::<usize>(), tokens.len(), "{config}");
                assert!(lens.iter().all(|n| *n > 0), "{config}");
                let alone = !config["last_alone"].as_bool().unwrap() || lens.last() == Some(&1);
                assert!(alone, "{config}: {lens:?}");
                if config["termination"] == "perplexity" {
                    let inside = tokens.clone().skip(1).filter(|t| !exp.macro_start[*t]);
                    for t in inside {
                        assert!(
                            exp.logp_ref[t] >= exp.logp_ref[t - 1],
                            "perplexity rises inside"
                        );
                    }
                }
                counts.push(lens.len() as f64);
                // one advantage each
                let mut at = tokens.start;
                for n in lens {
                    assert!(
                        exp.advantages[at..at + n]
                            .iter()
                            .all(|a| *a == exp.advantages[at])
                    );
                    assert!(
                        exp.returns[at..at + n]
                            .iter()
                            .all(|r| *r == exp.returns[at])
                    );
                    at += n;
                }
            }
            assert_close_slices(
                "per response",
                &[metrics["macro/per_response"]],
                &[mean(&counts)],
                1e-12,
            );
        }
    }
}

#[test]
fn random_lengths_follow_the_seed_and_the_response() {
    let cut = |seed: u64, exp: Experience| {
        let lengths = json!([1, 2, 3, 5, 10]);
        let config = json!({"termination": "random", "lengths": lengths, "length_repeats": 1});
        let mut algorithm = build("ma_ppo", &config, seed).unwrap();
        algorithm.prepare(exp).unwrap().0.macro_start
    };
    let starts = cut(1, long_responses());
    assert_eq!(starts, cut(1, long_responses()));
    assert_ne!(starts, cut(2, long_responses()), "another seed");
    assert_ne!(starts[..24], starts[24..], "another response");
    // whatever stands beside it
    assert_eq!(cut(1, long_responses().select(&[1])), starts[24..]);
}

#[test]
fn clauses_come_from_the_loop() {
    for (termination, asks) in TERMINATIONS.iter().zip([false, false, false, true, false]) {
        let needs = ma_ppo(json!({"termination": termination})).requirements();
        assert_eq!(needs.clauses, asks);
    }
    let mut algorithm = ma_ppo(json!({"termination": "parsing"}));
    let mut exp = experience(&[1, 2], &[1, 1], 1);
    let n = exp.n_tokens();
    exp.macro_start.clear();
    let message = algorithm.prepare(exp.clone()).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("rollouts: column macro_start has 0 values, expected {n}")
    );
    // a parser that found nothing: one macro action each
    exp.macro_start = vec![false; n];
    let (exp, _) = algorithm.prepare(exp).unwrap();
    assert_eq!(lens(&exp.macro_start), exp.lens);
}

// ---- advantages

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
fn rewards_of_macro_actions_sum_to_those_of_tokens() {
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
fn without_a_trace_the_advantage_is_reward_to_go_less_value() {
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
fn one_macro_action_is_a_bandit() {
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

#[test]
fn it_begins_as_policy_gradient_by_token_or_macro_action() {
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

// ---- settings

#[test]
fn its_keys_and_ppos_are_one_table() {
    let all = algorithms::resolve("ma_ppo", &json!({"ngram": 3, "clip": 0.1})).unwrap();
    assert_eq!(
        (&all["ngram"], &all["clip"], &all["lam"]),
        (&json!(3), &json!(0.1), &json!(0.95))
    );
    #[track_caller]
    fn check(config: Value, words: &[&str]) {
        let message = build("ma_ppo", &config, 0)
            .err()
            .expect("refused")
            .to_string();
        let said = words.iter().all(|word| message.contains(word));
        assert!(said && !message.contains('\n'), "{message}");
    }
    check(
        json!({"terminaton": "fixed"}),
        &[
            "unknown key \"algorithm.terminaton\"",
            "algorithm.termination",
        ],
    );
    check(
        json!({"clp": 0.1}),
        &["unknown key \"algorithm.clp\"", "algorithm.clip"],
    );
    check(
        json!({"termination": "words"}),
        &["algorithm.termination", "perplexity"],
    );
    check(json!({"ngram": 0}), &["algorithm.ngram = 0", "1 or more"]);
    check(json!({"lengths": []}), &["algorithm.lengths = []"]);
    check(json!({"lengths": [2, 0]}), &["algorithm.lengths = [2,0]"]);
    check(
        json!({"length_repeats": 0}),
        &["algorithm.length_repeats = 0"],
    );
    check(json!({"clip": 2}), &["algorithm.clip = 2"]);
    check(json!([]), &["expected a table"]);
}
