//! RLOO and GRPO, which compare a response with its prompt's other samples, and their relation to
//! MRT and REINFORCE.

use super::*;
use crate::algorithms::support::*;
use algorithms::estimators::{mean, sample_std};
use testkit::assert_close_slices;

#[test]
fn group_methods_differ_by_a_factor_before_an_update() {
    let k = 4.0;
    let exp = || {
        let mut exp = experience(&[1, 2, 3], &[4; 3], 8);
        exp.logp_ref.clear();
        exp
    };
    let gradient = |mut algorithm: Box<dyn Algorithm>| {
        let (exp, _) = algorithm.prepare(exp()).unwrap();
        let now = Now {
            logp: wide(&exp.logp_old),
            entropy: wide(&exp.entropy),
            values: Vec::new(),
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        for (metric, value) in [
            ("policy/ratio", 1.0),
            ("policy/approxkl", 0.0),
            ("policy/clipfrac", 0.0),
        ] {
            assert_eq!(found.metrics.get(metric).copied().unwrap_or(value), value);
        }
        found.d_logp
    };
    let rloo = gradient(bare("rloo", json!({"samples": 4})));
    let sum: f64 = rloo.iter().map(|g| g.abs()).sum();
    assert!(sum > 0.1);
    let others = json!({"samples": 4, "baseline": "leave_one_out", "normalise": "rows"});
    assert_close_slices(
        "reinforce",
        &gradient(bare("reinforce", others)),
        &rloo,
        1e-9,
    );
    let smaller = times(&rloo, (k - 1.0) / k);
    let flat = json!({"samples": 4, "alpha": 1e-6});
    assert_close_slices("mrt, α → 0", &gradient(bare("mrt", flat)), &smaller, 1e-5);
    let dr = json!({"samples": 4, "aggregation": "dr_grpo", "constant_length": 1, "scale_rewards": "none"});
    assert_close_slices("Dr. GRPO", &gradient(bare("grpo", dr)), &smaller, 1e-7);
}

#[test]
fn equal_rewards_within_a_prompt_give_no_gradient() {
    for (name, config) in [
        ("mrt", json!({})),
        ("mrt", json!({"alpha": 1.0, "length_normalise": false})),
        ("rloo", json!({})),
        ("rloo", json!({"normalise_advantages": true})),
        ("grpo", json!({})),
        ("grpo", json!({"scale_rewards": "batch"})),
    ] {
        let mut algorithm = bare(name, config);
        let mut exp = experience(&[1, 2, 3], &[4, 3, 1], 3);
        // equal within the prompt only
        let levels = [0.3, -1.7, 2.5];
        exp.score = exp
            .prompt_key
            .iter()
            .map(|k| levels[*k as usize - 1])
            .collect();
        let (exp, metrics) = algorithm.prepare(exp).unwrap();
        assert_eq!(metrics.get("group/equal_frac").unwrap_or(&1.0), &1.0);
        let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3));
        assert!(found.d_logp.iter().all(|g| *g == 0.0), "{name}");
    }
}

#[test]
fn rloo_clips_the_ratio_of_whole_responses() {
    // two prompts of two: A = ±1 each; log-ratios of the four responses as given
    let gradient = |clip: f64, log_ratios: [f64; 4]| {
        let mut algorithm = bare("rloo", json!({"samples": 2, "clip": clip}));
        let mut exp = experience(&[1, 2], &[2, 2], 2);
        exp.score = vec![1.0, 0.0, 1.0, 0.0];
        exp.lens = vec![2; 4];
        exp.logp_old = vec![-1.0; 8];
        exp.entropy = vec![0.0; 8];
        let (exp, _) = algorithm.prepare(exp).unwrap();
        assert_eq!(exp.weight, [1.0, -1.0, 1.0, -1.0]);
        let now = Now {
            // half of it on each token
            logp: log_ratios
                .iter()
                .flat_map(|x| [-1.0 + x / 2.0; 2])
                .collect(),
            entropy: vec![0.0; 8],
            values: Vec::new(),
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        let firsts: Vec<f64> = found.d_logp.iter().copied().step_by(2).collect();
        (firsts, found.metrics["policy/clipfrac"])
    };
    let x = [0.3, 0.3, -0.3, -0.3]; // ρ = 1.35 and 0.74
    let slope = |i: usize| -[1.0, -1.0, 1.0, -1.0][i] * f64::exp(x[i]) / 4.0;
    // A > 0 stops above, A < 0 below
    let (found, share) = gradient(0.2, x);
    assert_close_slices("clip", &found, &[0.0, slope(1), slope(2), 0.0], 1e-9);
    assert_eq!(share, 0.5);
    let (found, share) = gradient(0.0, x);
    assert_close_slices("off", &found, &[0, 1, 2, 3].map(slope), 1e-9);
    assert_eq!(share, 0.0);
}

#[test]
fn rloo_is_unbiased() {
    let (found, _) = over_pairs(&|| bare("rloo", json!({"samples": 2})), &REWARDS);
    assert_close_slices("E[gradient]", &found, &exact(), 1e-6);
}

#[test]
fn grpo_advantages_ignore_the_level_of_rewards() {
    let advantages = |scale: &str, by: f32, level: f32| {
        let mut exp = experience(&[1, 2], &[4, 5], 2);
        exp.score.iter_mut().for_each(|s| *s = *s * by + level);
        let scores = wide(&exp.score);
        let (exp, _) = bare("grpo", json!({"scale_rewards": scale}))
            .prepare(exp)
            .unwrap();
        let layout = exp.layout();
        let firsts = layout.ranges().map(|t| f64::from(exp.advantages[t.start]));
        (firsts.collect::<Vec<f64>>(), scores)
    };
    let (plain, scores) = advantages("group", 1.0, 0.0);
    for rows in [0..4, 4..9] {
        assert_close_slices("sum", &[plain[rows.clone()].iter().sum()], &[0.0], 1e-6);
        let std = sample_std(&scores[rows.clone()]);
        assert_close_slices(
            "std",
            &[sample_std(&plain[rows])],
            &[std / (std + 1e-4)],
            1e-6,
        );
    }
    assert_close_slices("a r + c", &advantages("group", 2.0, 3.0).0, &plain, 1e-3);
    let (none, scores) = advantages("none", 1.0, 0.0);
    let wanted: Vec<f64> = scores[..4].iter().map(|s| s - mean(&scores[..4])).collect();
    assert_close_slices("none", &none[..4], &wanted, 1e-6);
    let (batch, scores) = advantages("batch", 1.0, 0.0);
    let wanted = times(&none, 1.0 / (sample_std(&scores) + 1e-4));
    assert_close_slices("batch", &batch, &wanted, 1e-6);
}

#[test]
fn grpo_weights_tokens_by_aggregation() {
    let gradient = |aggregation: &str, lens: &[usize]| {
        let config = json!({"aggregation": aggregation, "constant_length": 8});
        let mut algorithm = bare("grpo", config);
        let n: usize = lens.iter().sum();
        let exp = Experience {
            lens: lens.to_vec(),
            logp_old: vec![-1.0; n],
            entropy: vec![0.0; n],
            ..experience(&[1], &[lens.len()], 3)
        };
        let (exp, _) = algorithm.prepare(exp).unwrap();
        let now = Now {
            logp: vec![-1.0; n],
            entropy: vec![0.0; n],
            values: Vec::new(),
        };
        let found = loss(algorithm.as_ref(), &exp, &now).d_logp;
        let weights = found.iter().zip(&exp.advantages);
        weights
            .map(|(g, a)| -g / f64::from(*a))
            .collect::<Vec<f64>>()
    };
    let by_row = |weights: [f64; 3]| -> Vec<f64> {
        [(weights[0], 1), (weights[1], 2), (weights[2], 6)]
            .iter()
            .flat_map(|(w, n)| vec![*w; *n])
            .collect()
    };
    for (aggregation, weights) in [
        ("grpo", [1.0 / 3.0, 1.0 / 6.0, 1.0 / 18.0]),
        ("bnpo", [1.0 / 9.0; 3]),
        ("dapo", [1.0 / 9.0; 3]),
        ("dr_grpo", [1.0 / 24.0; 3]),
    ] {
        let found = gradient(aggregation, &[1, 2, 6]);
        assert_close_slices(aggregation, &found, &by_row(weights), 1e-7);
    }
    let same = gradient("grpo", &[3; 4]);
    for aggregation in ["bnpo", "dapo"] {
        assert_close_slices(aggregation, &gradient(aggregation, &[3; 4]), &same, 1e-7);
    }
}

#[test]
fn grpo_has_the_kl_in_the_loss() {
    let mut algorithm = method(
        "grpo",
        json!({"beta": 0.5, "eos_penalty": 0, "aggregation": "bnpo"}),
    );
    let mut exp = experience(&[1], &[3], 4);
    exp.score.fill(1.0);
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    assert_eq!(metrics["objective/non_score_reward"], 0.0);
    let now = Now::near(&exp, 5);
    let found = loss(algorithm.as_ref(), &exp, &now);
    let n = exp.n_tokens() as f64;
    let x: Vec<f64> = wide(&exp.logp_ref)
        .iter()
        .zip(&now.logp)
        .map(|(q, p)| q - p)
        .collect();
    let k3 = mean(&x.iter().map(|x| x.exp() - 1.0 - x).collect::<Vec<_>>());
    assert_close_slices("mean k3", &[found.metrics["grpo/kl"]], &[k3], 1e-9);
    assert_close_slices(
        "loss/kl",
        &[found.metrics["loss/kl"], found.loss],
        &[0.5 * k3; 2],
        1e-9,
    );
    let wanted: Vec<f64> = x.iter().map(|x| 0.5 / n * (1.0 - x.exp())).collect();
    assert_close_slices("d/dlogp", &found.d_logp, &wanted, 1e-9);
}
