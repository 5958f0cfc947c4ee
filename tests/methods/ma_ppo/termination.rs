//! Where macro actions begin.

use super::*;
use algorithms::estimators::macros::{by_perplexity, cut, lens};
use algorithms::estimators::mean;
use serde_json::json;
use testkit::assert_close_slices;

#[test]
fn each_termination_cuts_at_its_rule() {
    /// Checks the macro lengths of a response with these reference log-probabilities.
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
fn macros_cover_each_response_and_none_is_empty() {
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
fn random_lengths_depend_on_seed_and_response_only() {
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
    // independent of the other rows
    assert_eq!(cut(1, long_responses().select(&[1])), starts[24..]);
}

#[test]
fn only_parsing_asks_the_loop_for_clauses() {
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
