//! reinforce, mrt, rloo and grpo against their papers: identities on a tabular policy, and scripts/golden/on_policy.py, whose rloo and
//! grpo are TRL's too. Gradients are checked in f64; weights that `prepare` writes are f32.

use crate::algorithms::support::*;
use crate::algorithms::tabular::*;
use algorithms::estimators::baseline::{Baseline, Kind, leave_one_out};
use algorithms::estimators::{mean, sample_std};
use algorithms::{Algorithm, Experience, Scores, Totals, build, groups};
use candle_core::{Device, Tensor, Var};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

fn method(name: &str, config: Value) -> Box<dyn Algorithm> {
    build(name, &config, 0).unwrap()
}

/// With `kl_coef` and the like off.
fn bare(name: &str, mut config: Value) -> Box<dyn Algorithm> {
    config["eos_penalty"] = json!(0);
    config[if name == "grpo" { "beta" } else { "kl_coef" }] = json!(0);
    method(name, config)
}

/// Responses of one token to one prompt of the tabular policy, before any update.
fn answers(cells: &[usize], rewards: &[f64; 5]) -> Experience {
    let p = softmax(&LOGITS);
    let n = cells.len();
    Experience {
        lens: vec![1; n],
        prompt_key: vec![1; n],
        finished: vec![true; n],
        temperature: vec![1.0; n],
        score: cells.iter().map(|c| rewards[*c] as f32).collect(),
        drawn: vec![true; n],
        response_key: cells.iter().map(|c| *c as u64).collect(),
        logp_old: cells.iter().map(|c| p[*c].ln() as f32).collect(),
        logp_ref: cells.iter().map(|c| p[*c].ln() as f32).collect(),
        entropy: vec![0.0; n],
        ..Experience::default()
    }
}

/// The gradient with respect to the policy's logits of a step on those responses.
fn step(algorithm: &mut dyn Algorithm, cells: &[usize], rewards: &[f64; 5]) -> Vec<f64> {
    let (exp, _) = algorithm.prepare(answers(cells, rewards)).unwrap();
    let at: Vec<u32> = cells.iter().map(|c| *c as u32).collect();
    let at = Tensor::new(at, &Device::Cpu).unwrap();
    tabular(&LOGITS, |logp| {
        let logp = logp.index_select(&at, 0).unwrap();
        let scores = Scores {
            entropy: logp.zeros_like().unwrap(),
            logp,
            values: None,
        };
        algorithm
            .loss(&scores, &exp, Totals::of(&exp))
            .unwrap()
            .loss
    })
}

/// Mean and total variance of the gradient of a step on two samples of the policy, over all pairs.
fn over_pairs(make: &dyn Fn() -> Box<dyn Algorithm>, rewards: &[f64; 5]) -> (Vec<f64>, f64) {
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

fn times(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().map(|v| v * by).collect()
}

// ---- golden

fn cases(name: &str) -> Vec<Value> {
    golden_json("on_policy.json")[name]
        .as_array()
        .unwrap()
        .clone()
}

/// Prepares the case's batch, checks loss and gradient, and returns what was prepared.
#[track_caller]
fn check_case(
    name: &str,
    algorithm: &mut dyn Algorithm,
    case: &Value,
) -> (Experience, Now, std::collections::BTreeMap<String, f64>) {
    let (exp, now) = golden_batch(&case["batch"]);
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    let found = loss(algorithm, &exp, &now);
    let at = |what: &str| format!("{name} {}: {what}", case["config"]);
    let wanted = [case["loss"].as_f64().unwrap()];
    // weights are f32, and MRT's loss, a mean of weights that sum to 0, is divided by α
    let tolerance = if name == "mrt" { 1e-5 } else { 1e-6 };
    assert_close_slices(&at("loss"), &[found.loss], &wanted, tolerance);
    let wanted = numbers(&case["grad_logp"]);
    assert_close_slices(&at("d/dlogp"), &found.d_logp, &wanted, 1e-6);
    (exp, now, metrics)
}

#[test]
fn reinforce_equals_the_golden_program() {
    for steps in cases("reinforce") {
        let steps = steps.as_array().unwrap();
        let mut algorithm = method("reinforce", steps[0]["config"].clone());
        for case in steps {
            let (exp, _, metrics) = check_case("reinforce", algorithm.as_mut(), case);
            assert_close_slices(
                "weight",
                &wide(&exp.weight),
                &numbers(&case["weight"]),
                1e-6,
            );
            let b = case["baseline"].as_f64().unwrap();
            assert_close_slices("baseline", &[metrics["reinforce/baseline"]], &[b], 1e-6);
        }
    }
}

#[test]
fn mrt_and_rloo_equal_the_golden_program_and_rloo_trl() {
    for name in ["mrt", "rloo"] {
        for case in cases(name) {
            let mut algorithm = method(name, case["config"].clone());
            let (exp, ..) = check_case(name, algorithm.as_mut(), &case);
            assert_close_slices(
                "weight",
                &wide(&exp.weight),
                &numbers(&case["weight"]),
                1e-6,
            );
        }
    }
}

#[test]
fn grpo_equals_the_golden_program_and_trl() {
    for case in cases("grpo") {
        let mut algorithm = method("grpo", case["config"].clone());
        let (exp, now, _) = check_case("grpo", algorithm.as_mut(), &case);
        let layout = exp.layout();
        let firsts = layout.ranges().map(|t| exp.advantages[t.start]);
        let advantages: Vec<f32> = firsts.collect();
        assert_close_slices("A", &wide(&advantages), &numbers(&case["weight"]), 1e-6);
        for half in case["minibatches"].as_array().unwrap() {
            let rows: Vec<usize> = numbers(&half["rows"]).iter().map(|r| *r as usize).collect();
            let (exp, now) = (exp.select(&rows), now.select(&exp, &rows));
            let found = loss(algorithm.as_ref(), &exp, &now);
            let wanted = [half["loss"].as_f64().unwrap()];
            assert_close_slices("half: loss", &[found.loss], &wanted, 1e-6);
            let wanted = numbers(&half["grad_logp"]);
            assert_close_slices("half: d/dlogp", &found.d_logp, &wanted, 1e-6);
        }
    }
}

// ---- baselines

#[test]
fn each_baseline_is_what_its_line_says() {
    let of = |kind: Kind| {
        let mut baseline = Baseline::new(kind, 0.75, 3);
        let first = baseline.of(&[1.0, 2.0, 6.0], &groups(&[1, 1, 2]));
        let second = baseline.of(&[4.0, 7.0], &groups(&[3, 3]));
        (first, second)
    };
    assert_eq!(of(Kind::Cumulative), (vec![3.0; 3], vec![4.0; 2]));
    assert_eq!(
        of(Kind::Ema),
        (vec![3.0; 3], vec![0.75 * 3.0 + 0.25 * 5.5; 2])
    );
    assert_close_slices("the last three", &of(Kind::Fifo).1, &[17.0 / 3.0; 2], 1e-12);
    assert_eq!(of(Kind::Batch), (vec![3.0; 3], vec![5.5; 2]));
    // a prompt's other sample; one alone has no others
    assert_eq!(of(Kind::LeaveOneOut), (vec![2.0, 1.0, 6.0], vec![7.0, 4.0]));
    assert_eq!(of(Kind::None), (vec![0.0; 3], vec![0.0; 2]));
}

#[test]
fn the_running_mean_is_that_of_all_rewards_and_is_restored_exactly() {
    let rewards: Vec<f64> = uniform(420, 3)
        .iter()
        .map(|u| f64::from((5.0 * u) as f32))
        .collect();
    for kind in [Kind::Cumulative, Kind::Ema, Kind::Fifo] {
        let new = || Baseline::new(kind, 0.9, 40);
        let (mut first, mut second) = (new(), new());
        let mut seen = 0;
        for n in (1..=20).chain(1..=20) {
            seen += n;
            let step = &rewards[seen - n..seen];
            let b = first.of(step, &[]);
            if kind == Kind::Cumulative {
                assert_close_slices("b", &b[..1], &[mean(&rewards[..seen])], 1e-6);
            }
            // through text, as a checkpoint
            let text = second.state().to_string();
            second = new();
            second
                .restore(&serde_json::from_str(&text).unwrap())
                .unwrap();
            assert_eq!(second.of(step, &[]), b);
        }
    }
}

#[test]
fn leave_one_out_is_the_deviation_from_the_mean_scaled() {
    let r = [1.0, -2.0, 0.5, 3.0];
    let advantage =
        |r: &[f64]| -> Vec<f64> { r.iter().zip(leave_one_out(r)).map(|(r, b)| r - b).collect() };
    let wanted: Vec<f64> = r.iter().map(|x| 4.0 / 3.0 * (x - mean(&r))).collect();
    assert_close_slices("k/(k−1) (r − mean)", &advantage(&r), &wanted, 1e-12);
    assert_close_slices("sum", &[advantage(&r).iter().sum()], &[0.0], 1e-12);
    assert_eq!(
        (advantage(&[0.7; 5]), advantage(&[9.0])),
        (vec![0.0; 5], vec![0.0])
    );
    assert!(leave_one_out(&[]).is_empty());
}

// ---- REINFORCE

fn reinforce(baseline: &str) -> Box<dyn Algorithm> {
    let config = json!({"baseline": baseline, "samples": 2, "normalise": "rows"});
    bare("reinforce", config)
}

#[test]
fn the_expected_gradient_is_exact_but_for_the_share_of_the_step_in_its_baseline() {
    for (baseline, share) in [
        ("none", 0.0),
        ("leave_one_out", 0.0),
        ("batch", 0.5),
        ("cumulative", 0.5),
        ("fifo", 0.5),
    ] {
        let (found, _) = over_pairs(&|| reinforce(baseline), &REWARDS);
        assert_close_slices(baseline, &found, &times(&exact(), 1.0 - share), 1e-6);
    }
    // after six rewards a response's own is one of eight
    let later = || {
        let mut algorithm = reinforce("cumulative");
        algorithm
            .prepare(answers(&[0, 1, 2, 3, 4, 3], &REWARDS))
            .unwrap();
        algorithm
    };
    let (found, _) = over_pairs(&later, &REWARDS);
    assert_close_slices("after six", &found, &times(&exact(), 1.0 - 1.0 / 8.0), 1e-6);
    // any constant
    let known = || {
        let mut algorithm = reinforce("cumulative");
        let state = json!({"mean": -3.5, "count": 1u64 << 50, "fifo": []});
        algorithm.restore(&state).unwrap();
        algorithm
    };
    assert_close_slices("constant", &over_pairs(&known, &REWARDS).0, &exact(), 1e-6);
}

#[test]
fn a_baseline_lowers_the_variance() {
    let rewards = REWARDS.map(|r| r + 5.0);
    let p = softmax(&LOGITS);
    let level: f64 = p.iter().zip(rewards).map(|(p, r)| p * r).sum();
    let at_level = || {
        let mut algorithm = reinforce("cumulative");
        let state = json!({"mean": level as f32, "count": 1u64 << 50, "fifo": []});
        algorithm.restore(&state).unwrap();
        algorithm
    };
    let (mean_without, without) = over_pairs(&|| reinforce("none"), &rewards);
    let (mean_with, with) = over_pairs(&at_level, &rewards);
    let (_, others) = over_pairs(&|| reinforce("leave_one_out"), &rewards);
    assert_close_slices("same expectation", &mean_with, &mean_without, 1e-6);
    assert!(
        with < 0.2 * without && others < 0.2 * without,
        "{with} {others} {without}"
    );
}

#[test]
fn a_constant_reward_teaches_nothing_where_there_is_a_baseline() {
    for baseline in [
        "cumulative",
        "ema",
        "fifo",
        "batch",
        "leave_one_out",
        "none",
    ] {
        let mut algorithm = reinforce(baseline);
        for seed in 0..3 {
            let mut exp = experience(&[1, 2, 3], &[2, 2, 2], seed);
            exp.score.fill(0.3);
            let (exp, _) = algorithm.prepare(exp).unwrap();
            let gradient = loss(algorithm.as_ref(), &exp, &Now::near(&exp, seed)).d_logp;
            let nothing = gradient.iter().all(|g| *g == 0.0);
            assert_eq!(nothing, baseline != "none", "{baseline}, step {seed}");
        }
    }
    // a first step of one response, whatever its reward
    for baseline in ["cumulative", "ema", "fifo", "batch"] {
        let gradient = step(reinforce(baseline).as_mut(), &[3], &REWARDS);
        assert_eq!(gradient, [0.0; 5], "{baseline}");
    }
}

#[test]
fn the_loss_is_over_tokens_or_rows() {
    let of = |normalise: &str| {
        let mut algorithm = bare(
            "reinforce",
            json!({"normalise": normalise, "baseline": "none"}),
        );
        let (exp, _) = algorithm
            .prepare(experience(&[1, 2, 3], &[1; 3], 4))
            .unwrap();
        let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 5));
        let per_token = |(row, len): (usize, &usize)| vec![-f64::from(exp.score[row]); *len];
        let sum: Vec<f64> = exp.lens.iter().enumerate().flat_map(per_token).collect();
        (found.d_logp, sum, exp.n_tokens() as f64)
    };
    let (found, sum, n_tokens) = of("tokens");
    assert_close_slices("tokens", &found, &times(&sum, 1.0 / n_tokens), 1e-9);
    let (found, sum, _) = of("rows");
    assert_close_slices("rows", &found, &times(&sum, 1.0 / 3.0), 1e-9);
}

// ---- MRT

fn mrt(alpha: f64, scaled: bool) -> Box<dyn Algorithm> {
    bare("mrt", json!({"alpha": alpha, "scale_by_alpha": scaled}))
}

const ALL: [usize; 5] = [0, 1, 2, 3, 4];

#[test]
fn mrt_has_the_gradients_of_its_paper() {
    let all = step(mrt(1.0, false).as_mut(), &ALL, &REWARDS);
    assert_close_slices("(a) all of Ω, α = 1", &all, &exact(), 1e-6);
    let shifted = step(mrt(0.3, false).as_mut(), &ALL, &REWARDS.map(|r| r + 16.0));
    let plain = step(mrt(0.3, false).as_mut(), &ALL, &REWARDS);
    assert_close_slices("(b) a constant cancels", &shifted, &plain, 1e-7);
    // (c) by token, on responses of any length
    for (alpha, scaled) in [(0.3, false), (0.3, true)] {
        let config = json!({"alpha": alpha, "scale_by_alpha": scaled, "length_normalise": false});
        let mut algorithm = bare("mrt", config);
        let (exp, _) = algorithm.prepare(experience(&[1, 2], &[3, 4], 6)).unwrap();
        let now = Now::near(&exp, 7);
        let mut wanted = Vec::new();
        for rows in [0..3, 3..7] {
            let sum = |row: usize| now.logp[exp.layout().range(row)].iter().sum::<f64>();
            let z: Vec<f64> = rows.clone().map(|row| alpha * sum(row)).collect();
            let (q, r) = (softmax(&z), wide(&exp.score[rows.clone()]));
            let level: f64 = q.iter().zip(&r).map(|(q, r)| q * r).sum();
            let scale = if scaled { 1.0 } else { alpha };
            for (i, row) in rows.enumerate() {
                let slope = -scale * q[i] * (r[i] - level) / 2.0;
                wanted.extend(vec![slope; exp.lens[row]]);
            }
        }
        let found = loss(algorithm.as_ref(), &exp, &now).d_logp;
        assert_close_slices("(c) closed form", &found, &wanted, 1e-7);
    }
    let small = step(mrt(1e-6, true).as_mut(), &ALL, &REWARDS);
    let centred = REWARDS.map(|r| (r - mean(&REWARDS)) / 5.0);
    let wanted = tabular(&LOGITS, |logp| {
        algorithms::reinforce::loss(logp, &constant(&centred)).unwrap()
    });
    assert_close_slices("(d) α → 0", &small, &wanted, 1e-5);
    assert_eq!(
        step(mrt(0.3, true).as_mut(), &[2], &REWARDS),
        [0.0; 5],
        "(e) k = 1"
    );
}

/// Prompts left with one response must not look like parameters that no gradient reaches.
#[test]
fn mrt_of_single_responses_is_a_zero_gradient_not_a_missing_one() {
    let mut algorithm = bare("mrt", json!({"deduplicate": true}));
    let exp = experience(&[1, 2], &[1, 1], 3);
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    assert_eq!(metrics["mrt/prompts_alone"], 2.0);
    let var = Var::new(wide(&exp.logp_old), &Device::Cpu).unwrap();
    let scores = Scores {
        logp: var.as_tensor().clone(),
        entropy: var.zeros_like().unwrap(),
        values: None,
    };
    let out = algorithm.loss(&scores, &exp, Totals::of(&exp)).unwrap();
    let grads = out.loss.backward().unwrap();
    let gradient = testkit::values(grads.get(&var).expect("a gradient"));
    assert!(gradient.iter().all(|g| *g == 0.0));
}

#[test]
fn mrt_normalises_length_by_value_only() {
    let q_max = |normalise: bool, logp: [f32; 8]| {
        let config = json!({"alpha": 0.1, "length_normalise": normalise});
        let mut algorithm = bare("mrt", config);
        let exp = Experience {
            lens: vec![2, 6],
            logp_old: logp.to_vec(),
            logp_ref: Vec::new(),
            entropy: Vec::new(),
            score: vec![1.0, 0.0],
            ..answers(&[0, 1], &REWARDS)
        };
        let (exp, _) = algorithm.prepare(exp).unwrap();
        let now = Now {
            logp: wide(&exp.logp_old),
            entropy: vec![0.0; 8],
            values: Vec::new(),
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        (found.metrics["mrt/q_max"], found.d_logp)
    };
    // both at −0.5 a token: as likely, per token
    let (q, gradient) = q_max(true, [-0.5; 8]);
    assert_close_slices("Q", &[q], &[0.5], 1e-7);
    assert_close_slices(
        "−Q (r − r̄)",
        &gradient,
        &[[-0.25; 2].to_vec(), [0.25; 6].to_vec()].concat(),
        1e-7,
    );
    let (q, _) = q_max(false, [-0.5; 8]);
    assert_close_slices("by α L", &[q], &softmax(&[-0.1, -0.3])[..1], 1e-7);
}

#[test]
fn mrt_keeps_the_first_of_equal_responses_and_counts_the_reference_apart() {
    let config = json!({"samples": 3, "deduplicate": true, "reference_in_samples": true});
    let mut algorithm = method("mrt", config);
    assert!(algorithm.needs().reference_answer && algorithm.needs().whole_groups);
    let plan = algorithm.plan(&[1, 2], 0).unwrap();
    assert_eq!(plan.iter().map(|p| p.n).collect::<Vec<_>>(), [3, 3]);
    let mut exp = experience(&[1, 2], &[4, 4], 2);
    exp.drawn = vec![true, true, true, false, true, true, true, false];
    // the second prompt's samples are all its reference answer; equal keys of other prompts are no duplicates
    exp.response_key = vec![5, 6, 5, 7, 6, 6, 6, 6];
    let keep = algorithm.keep(&exp);
    assert_eq!(keep, [true, true, false, true, true, false, false, false]);
    let kept: Vec<usize> = (0..8).filter(|row| keep[*row]).collect();
    let exp = exp.select(&kept);
    let drawn_scores = [exp.score[0], exp.score[1], exp.score[3]];
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    assert_eq!(
        (metrics["mrt/rows_dropped"], metrics["mrt/prompts_alone"]),
        (4.0, 1.0)
    );
    let wanted = [mean(&wide(&drawn_scores))];
    assert_close_slices("scores", &[metrics["objective/scores"]], &wanted, 1e-7);
    // the reference answer has its share of Q and its gradient; the prompt left alone has none
    let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3)).d_logp;
    let layout = exp.layout();
    assert!(found[layout.range(2)].iter().all(|g| *g != 0.0));
    assert!(found[layout.range(3)].iter().all(|g| *g == 0.0));
    let mut all = method("mrt", json!({"samples": 3}));
    all.plan(&[1, 2], 0).unwrap();
    assert_eq!(all.keep(&exp), [true; 4]);
}

// ---- what the methods are to each other

#[test]
fn before_an_update_the_group_methods_differ_by_a_factor() {
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
fn equal_rewards_give_no_gradient() {
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

// ---- RLOO

#[test]
fn rloo_clips_whole_responses() {
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

// ---- GRPO

#[test]
fn grpo_advantages_have_no_level_and_hardly_a_scale() {
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
fn grpo_weighs_tokens_by_its_aggregation() {
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
fn grpo_pulls_to_the_reference_in_the_loss() {
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

// ---- settings

#[test]
fn needs_follow_the_settings() {
    let needs = |name: &str, config: Value| method(name, config).needs();
    for name in ["reinforce", "mrt", "rloo"] {
        let default = needs(name, json!({"minibatches": 3}));
        assert!(
            default.reference && default.tempered && !default.critic,
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
fn mistakes_are_named_in_one_line() {
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
