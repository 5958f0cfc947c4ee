//! dpo, gold, the a_lol family, rwr and rest against their papers: identities, and scripts/golden/offline.py, whose dpo is TRL's too.
//! Gradients are checked in f64; weights that `prepare` writes are f32.

use crate::algorithms::support::*;
use algorithms::{
    Algorithm, DataSource, Experience, PoolColumns, PoolRequirements, Refresh, Totals, build,
};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

fn method(name: &str, config: Value) -> Box<dyn Algorithm> {
    build(name, &config, 0).unwrap()
}

fn f32s(value: &Value) -> Vec<f32> {
    numbers(value).iter().map(|v| *v as f32).collect()
}

/// Stored rows of the golden program, and what the policy says of them.
fn batch(golden: &Value) -> (Experience, Now) {
    let whole = |name: &str| numbers(&golden[name]).into_iter().map(|v| v as u64);
    let exp = Experience {
        lens: whole("lens").map(|n| n as usize).collect(),
        prompt_key: whole("keys").collect(),
        score: f32s(&golden["score"]),
        prompt_value: f32s(&golden["value"]),
        logp_old: f32s(&golden["logp_old"]),
        logp_ref: f32s(&golden["logp_ref"]),
        ..Experience::default()
    };
    let n = exp.n_rows();
    let exp = Experience {
        finished: vec![true; n],
        sampled: vec![false; n],
        temperature: vec![1.0; n],
        response_key: (0..n as u64).collect(),
        ..exp
    };
    let logp = numbers(&golden["logp"]);
    let now = Now {
        entropy: vec![0.0; logp.len()],
        values: vec![0.0; logp.len()],
        logp,
    };
    (exp, now)
}

fn golden_batch(kind: &str) -> (Experience, Now) {
    batch(&golden_json("offline.json")["batches"][kind])
}

/// Loss, gradient and metrics after `prepare`.
fn step(algorithm: &mut dyn Algorithm, exp: &Experience, now: &Now) -> Found {
    let (exp, _) = algorithm.prepare(exp.clone()).unwrap();
    loss(algorithm, &exp, now)
}

/// The policy is the reference.
fn at_reference(exp: &Experience) -> Now {
    Now {
        logp: wide(&exp.logp_ref),
        entropy: vec![0.0; exp.n_tokens()],
        values: vec![0.0; exp.n_tokens()],
    }
}

/// `weight[row]` for each token of the row, over the rows.
fn per_token(exp: &Experience, weights: &[f64]) -> Vec<f64> {
    let spread = |(row, n): (usize, &usize)| vec![weights[row]; *n];
    exp.lens.iter().enumerate().flat_map(spread).collect()
}

fn row_sums(exp: &Experience, column: &[f64]) -> Vec<f64> {
    let layout = exp.layout();
    layout.ranges().map(|r| column[r].iter().sum()).collect()
}

#[test]
fn losses_and_gradients_equal_the_golden_program() {
    let golden = golden_json("offline.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (exp, now) = batch(&golden["batches"][case["batch"].as_str().unwrap()]);
        let found = step(method(name, case["config"].clone()).as_mut(), &exp, &now);
        let what = format!("{name} {}", case["config"]);
        assert_close_slices(&what, &[found.loss], &numbers(&json!([case["loss"]])), 2e-6);
        assert_close_slices(&what, &found.d_logp, &numbers(&case["grad"]), 2e-6);
    }
}

// ---- dpo

#[test]
fn dpo_metrics_are_trls() {
    let golden = golden_json("offline.json");
    let (exp, now) = golden_batch("pairs");
    let found = step(method("dpo", json!({"beta": 0.3})).as_mut(), &exp, &now);
    for name in [
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    ] {
        let wanted = golden["trl_dpo_metrics"][name].as_f64().unwrap();
        assert_close_slices(name, &[found.metrics[name]], &[wanted], 1e-6);
    }
}

#[test]
fn dpo_at_the_reference_is_ln_2_and_pulls_by_half_beta() {
    let (exp, _) = golden_batch("pairs");
    let found = step(
        method("dpo", json!({"beta": 0.4})).as_mut(),
        &exp,
        &at_reference(&exp),
    );
    assert_close_slices("loss", &[found.loss], &[2f64.ln()], 1e-7);
    let sign = [-1.0, 1.0].repeat(4);
    let wanted: Vec<f64> = sign.iter().map(|s| s * 0.4 / 2.0 / 4.0).collect();
    assert_close_slices("gradient", &found.d_logp, &per_token(&exp, &wanted), 1e-7);
}

#[test]
fn dpo_sees_only_the_difference_within_a_pair() {
    let (exp, now) = golden_batch("pairs");
    let mut dpo = method("dpo", json!({"beta": 0.3}));
    let plain = step(dpo.as_mut(), &exp, &now);
    // the same added to a pair's two responses, on their first tokens
    let mut shifted = now.clone();
    for (row, tokens) in exp.layout().ranges().enumerate() {
        shifted.logp[tokens.start] -= 0.7 * (row / 2) as f64;
    }
    let found = step(dpo.as_mut(), &exp, &shifted);
    assert_close_slices("shifted", &[found.loss], &[plain.loss], 1e-9);
    // chosen and rejected change places: h changes sign
    let order = [1, 0, 3, 2, 5, 4, 7, 6];
    let swapped = step(dpo.as_mut(), &exp.select(&order), &now.select(&exp, &order));
    let (a, b) = (
        plain.metrics["rewards/margins"],
        swapped.metrics["rewards/margins"],
    );
    assert_close_slices("margin", &[a], &[-b], 1e-9);
    // a pair that is already far apart teaches nothing, and equal responses have h = 0
    let mut far = now.clone();
    let first = exp.layout().range(1);
    far.logp[first.start] = -400.0;
    let found = step(method("dpo", json!({"beta": 1.0})).as_mut(), &exp, &far);
    assert!(
        found.d_logp[..8].iter().all(|g| g.abs() < 1e-12),
        "{:?}",
        found.d_logp
    );
    let (twins, same) = (exp.select(&[0, 0]), now.select(&exp, &[0, 0]));
    let found = step(dpo.as_mut(), &twins, &same);
    assert_close_slices("equal", &[found.loss], &[2f64.ln()], 1e-9);
    let half = exp.lens[0];
    let net: Vec<f64> = (0..half)
        .map(|t| found.d_logp[t] + found.d_logp[half + t])
        .collect();
    assert_close_slices("net gradient", &net, &vec![0.0; half], 1e-12);
}

// ---- gold

#[test]
fn gold_lies_between_mle_and_the_policys_own_probability() {
    let (exp, now) = golden_batch("rows");
    let n = exp.n_tokens() as f64;
    // one token of return, rewards of 1: only the importance weight is left
    let with = |weight_min: f64| json!({"weight_min": weight_min, "reward_min": 1.0, "suffix": 1});
    let mle = step(method("gold_s", with(1.0)).as_mut(), &exp, &now);
    assert_close_slices("u = 1", &mle.d_logp, &vec![-1.0 / n; exp.n_tokens()], 1e-7);
    // π̃ is the policy: the gradient of −Σ π(y_t) is −π(y_t) ∇ log π(y_t)
    let current = Experience {
        logp_old: now.logp.iter().map(|l| *l as f32).collect(),
        ..exp
    };
    let own = step(method("gold_s", with(0.0)).as_mut(), &current, &now);
    let wanted: Vec<f64> = now.logp.iter().map(|l| -l.exp() / n).collect();
    assert_close_slices("u = 0", &own.d_logp, &wanted, 1e-6);
    assert!(
        own.d_logp
            .iter()
            .zip(&mle.d_logp)
            .all(|(own, mle)| own.abs() <= mle.abs())
    );
}

#[test]
fn copies_of_the_policy_are_taken_when_they_are_due() {
    let due = |when: Refresh| -> Vec<u64> {
        (0..10)
            .filter(|step| when.is_due(*step, step.is_multiple_of(3)))
            .collect()
    };
    assert_eq!(due(Refresh::Never), [0; 0]);
    assert_eq!(due(Refresh::Steps(4)), [4, 8]);
    assert_eq!(due(Refresh::Epoch), [3, 6, 9]);
    assert_eq!(due(Refresh::StepsAndEpoch(4)), [3, 4, 6, 8, 9]);
    let needs = |config| method("gold_p", config).requirements();
    assert_eq!(
        needs(json!({"sync_epoch": false, "sync_steps": 7})).old_policy,
        Some(Refresh::Steps(7))
    );
    assert_eq!(needs(json!({})).reference_refresh, Refresh::Never);
    assert_eq!(
        needs(json!({"drift": true})).reference_refresh,
        Refresh::Epoch
    );
}

// ---- the a_lol family

/// A⁺ of each row.
fn advantages(exp: &Experience) -> Vec<f64> {
    let pairs = exp.score.iter().zip(&exp.prompt_value);
    pairs
        .map(|(r, v)| (f64::from(*r) - f64::from(*v)).max(0.0))
        .collect()
}

#[test]
fn a_lol_variants_agree_where_the_policy_is_the_reference() {
    let (exp, _) = golden_batch("rows");
    let now = at_reference(&exp);
    let n = exp.n_rows() as f64;
    let weights: Vec<f64> = advantages(&exp).iter().map(|a| -a / n).collect();
    for name in ["a_lol", "a_lol_seq", "a_lol_ref_free"] {
        let found = step(method(name, json!({})).as_mut(), &exp, &now);
        assert_close_slices(name, &found.d_logp, &per_token(&exp, &weights), 1e-6);
    }
    let found = step(
        method("a_lol_kl", json!({"kl_coef": 0.3})).as_mut(),
        &exp,
        &now,
    );
    let less: Vec<f64> = advantages(&exp).iter().map(|a| -(a - 0.3) / n).collect();
    assert_close_slices("a_lol_kl", &found.d_logp, &per_token(&exp, &less), 1e-6);
}

#[test]
fn the_importance_weight_multiplies_and_never_stops_the_gradient() {
    let (exp, now) = golden_batch("rows");
    let n = exp.n_rows() as f64;
    let rho: Vec<f64> = row_sums(&exp, &now.logp)
        .iter()
        .zip(row_sums(&exp, &wide(&exp.logp_ref)))
        .map(|(l, r)| (l - r).exp())
        .collect();
    let gradient = |weight: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let rows = advantages(&exp).into_iter().zip(&rho);
        per_token(
            &exp,
            &rows
                .map(|(a, rho)| -a * weight(*rho) / n)
                .collect::<Vec<_>>(),
        )
    };
    // without a clip: ∇(−A⁺ ρ) = −A⁺ ρ ∇L
    let free = step(method("a_lol", json!({"clip": 1e6})).as_mut(), &exp, &now);
    assert_close_slices("no clip", &free.d_logp, &gradient(&|rho| rho), 1e-5);
    // far outside the clip it is A⁺ (1 + ε) ∇N, where PPO's would be 0
    let far = Now {
        logp: exp.logp_ref.iter().map(|l| f64::from(*l) + 3.0).collect(),
        ..now.clone()
    };
    let found = step(method("a_lol", json!({})).as_mut(), &exp, &far);
    assert_close_slices("clipped", &found.d_logp, &gradient(&|_| 1.9), 1e-6);
    assert_close_slices(
        "weight",
        &[found.metrics["a_lol/importance_weight"]],
        &[1.9],
        1e-9,
    );
    // and an overflowing ratio stays finite
    let absurd = Now {
        logp: vec![1e4; now.logp.len()],
        ..now.clone()
    };
    let found = step(
        method("a_lol", json!({"clip": 1e9})).as_mut(),
        &exp,
        &absurd,
    );
    assert!(found.d_logp.iter().all(|g| g.is_finite()));
}

#[test]
fn members_of_the_family_are_each_other_at_their_limits() {
    let (mut exp, now) = golden_batch("rows");
    exp.prompt_value.fill(0.0);
    let a = step(method("a_lol", json!({})).as_mut(), &exp, &now);
    let r = step(method("r_lol", json!({})).as_mut(), &exp, &now);
    assert_close_slices("V = 0", &a.d_logp, &r.d_logp, 0.0);
    let gold = step(
        method("r_gold", json!({"weight_min": 1.0})).as_mut(),
        &exp,
        &now,
    );
    let wbc = step(method("wbc", json!({})).as_mut(), &exp, &now);
    assert_close_slices("u = 1", &gold.d_logp, &wbc.d_logp, 0.0);
}

fn pool(prompt_key: &[u64], score: &[f32], prompt_value: &[f32]) -> PoolColumns {
    let n = score.len();
    PoolColumns {
        prompt_key: prompt_key.to_vec(),
        lens: vec![3; n],
        response_key: (0..n as u64).collect(),
        sampled: vec![true; n],
        score: score.to_vec(),
        prompt_value: prompt_value.to_vec(),
    }
}

#[test]
fn only_better_than_expected_rows_are_drawn() {
    let rows = pool(
        &[1, 2, 3, 4],
        &[0.5, 0.25, 0.75, 0.5],
        &[0.25, 0.5, 0.5, 0.5],
    );
    let (weights, metrics) = method("a_lol", json!({})).weigh(&rows, 0).unwrap();
    assert_eq!(weights, [0.25, 0.0, 0.25, 0.0]);
    assert_close_slices("share", &[metrics["a_lol/positive_frac"]], &[0.5], 0.0);
    let even = method("a_lol", json!({"priority": false}))
        .weigh(&rows, 0)
        .unwrap()
        .0;
    assert_eq!(even, [1.0, 0.0, 1.0, 0.0]);
    let by_reward = method("wbc", json!({})).weigh(&rows, 0).unwrap().0;
    assert_eq!(by_reward, [0.5, 0.25, 0.75, 0.5]);
    for (name, replacement) in [(json!({}), true), (json!({"priority": false}), false)] {
        let DataSource::Pool(PoolRequirements {
            replacement: found, ..
        }) = method("wbc", name).requirements().source
        else {
            panic!("a pool")
        };
        assert_eq!(found, replacement);
    }
    let none = pool(&[1, 2], &[0.1, 0.2], &[0.5, 0.5]);
    let message = method("a_lol", json!({}))
        .weigh(&none, 0)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no stored response scores above") && message.contains("wbc"),
        "{message}"
    );
    let message = build("wbc", &json!({"clip": 0.5}), 0)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("unknown key \"algorithm.clip\""),
        "{message}"
    );
}

// ---- rwr

#[test]
fn rwr_runs_from_imitation_to_best_of_k() {
    let (exp, now) = golden_batch("rows");
    let (n_rows, n_prompts) = (exp.n_rows() as f64, 4.0);
    let gradient = |config: Value| step(method("rwr", config).as_mut(), &exp, &now).d_logp;
    let even = per_token(&exp, &vec![-1.0 / n_rows; exp.n_rows()]);
    assert_close_slices("beta = inf", &gradient(json!({"beta": 1e12})), &even, 1e-6);
    // keys 1 1 2 2 2 3 4
    let best: Vec<f64> = [0..2, 2..5, 5..6, 6..7]
        .into_iter()
        .flat_map(|group| {
            let most = exp.score[group.clone()]
                .iter()
                .copied()
                .fold(f32::MIN, f32::max);
            group.map(move |row| (row, most)).collect::<Vec<_>>()
        })
        .map(|(row, most)| {
            if exp.score[row] == most {
                -1.0 / n_prompts
            } else {
                0.0
            }
        })
        .collect();
    let sharp = json!({"beta": 1e-4, "normalise": "prompt", "weight_max": 0});
    assert_close_slices("beta = 0", &gradient(sharp), &per_token(&exp, &best), 1e-6);
    let shifted = Experience {
        score: exp.score.iter().map(|r| r + 0.5).collect(),
        ..exp.clone()
    };
    for (normalise, weight_max) in [("all", 0.0), ("all", 1.2), ("prompt", 1.2)] {
        let config = json!({"standardise": false, "weight_max": weight_max, "beta": 0.2, "normalise": normalise});
        let moved = step(method("rwr", config.clone()).as_mut(), &shifted, &now).d_logp;
        assert_close_slices("r + c", &moved, &gradient(config), 2e-6);
    }
    let equal = Experience {
        score: vec![0.3; exp.n_rows()],
        ..exp.clone()
    };
    let found = step(method("rwr", json!({})).as_mut(), &equal, &now).d_logp;
    assert_close_slices("equal rewards", &found, &even, 1e-7);
}

/// Stored responses are weighed once, over the whole pool: a step's other rows do not matter.
#[test]
fn rwr_weighs_the_pool() {
    let weigh = |config: Value, keys: &[u64], scores: &[f32]| {
        let rows = pool(keys, scores, &[]);
        method("rwr", config).weigh(&rows, 0)
    };
    let raw = json!({"standardise": false, "weight_max": 0});
    let keys = [1, 2, 1, 3];
    let scores = [0.0, 1.0, 2.0, 3.0];
    let e: Vec<f64> = scores.iter().map(|s| f64::from(*s).exp()).collect();
    let mean = e.iter().sum::<f64>() / 4.0;
    let all: Vec<f64> = e.iter().map(|e| e / mean).collect();
    let found = weigh(raw.clone(), &keys, &scores).unwrap().0;
    assert_close_slices("all", &found, &all, 1e-12);
    // prompt 1 has rows 0 and 2; each prompt weighs a third of the four rows
    let (third, e2) = (4.0 / 3.0, 2f64.exp());
    let by_prompt = [third / (1.0 + e2), third, third * e2 / (1.0 + e2), third];
    let mut config = raw.clone();
    config["normalise"] = json!("prompt");
    let found = weigh(config.clone(), &keys, &scores).unwrap().0;
    assert_close_slices("prompt", &found, &by_prompt, 1e-12);
    let message = weigh(config, &[1, 2, 3, 4], &scores)
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("prompt has only one"), "{message}");
    // equal but for rounding: none stands out
    let found = weigh(json!({}), &keys, &[0.5, 0.5 + 1e-7, 0.5, 0.5])
        .unwrap()
        .0;
    assert_close_slices("rounding", &found, &[1.0; 4], 1e-6);
    // a step of one row weighs it by what it is in the pool
    let (exp, now) = golden_batch("rows");
    let one = |weight: f32| Experience {
        weight: vec![weight],
        ..exp.select(&[0])
    };
    let scores = now.select(&exp, &[0]);
    let at = |weight: f32| step(method("rwr", json!({})).as_mut(), &one(weight), &scores).loss;
    assert_close_slices("one row", &[at(3.0)], &[3.0 * at(1.0)], 1e-6);
}

#[test]
fn rwrs_minimiser_is_the_data_times_exp_reward() {
    use crate::algorithms::tabular::*;
    use algorithms::Scores;
    use candle_core::{Device, Tensor};
    // answers drawn by a law μ: 1, 2, 3, 2 and 1 times
    let cells: Vec<u32> = vec![0, 1, 1, 2, 2, 2, 3, 3, 4];
    let beta = 1.5;
    let mu = [1.0, 2.0, 3.0, 2.0, 1.0];
    let optimum: Vec<f64> = (0..5).map(|a| f64::ln(mu[a]) + REWARDS[a] / beta).collect();
    let n = cells.len();
    let exp = Experience {
        lens: vec![1; n],
        prompt_key: vec![1; n],
        finished: vec![true; n],
        sampled: vec![false; n],
        temperature: vec![1.0; n],
        response_key: vec![0; n],
        score: cells.iter().map(|c| REWARDS[*c as usize] as f32).collect(),
        ..Experience::default()
    };
    let mut rwr = method(
        "rwr",
        json!({"beta": beta, "standardise": false, "weight_max": 0}),
    );
    let (exp, _) = rwr.prepare(exp).unwrap();
    let at = Tensor::new(cells, &Device::Cpu).unwrap();
    let gradient = |logits: &[f64]| {
        tabular(logits, |logp| {
            let logp = logp.index_select(&at, 0).unwrap();
            let scores = Scores {
                entropy: logp.zeros_like().unwrap(),
                logp,
            };
            rwr.policy_loss(&scores, &exp, Totals::of(&exp))
                .unwrap()
                .loss
        })
    };
    assert_close_slices("at the optimum", &gradient(&optimum), &[0.0; 5], 1e-7);
    assert!(gradient(&LOGITS).iter().any(|g| g.abs() > 0.05));
}

// ---- rest

#[test]
fn rest_filters_as_numpy_does_and_keep_fewer_as_they_rise() {
    let golden = golden_json("offline.json");
    let (exp, _) = golden_batch("rows");
    let rows = pool(&exp.prompt_key, &exp.score, &[]);
    let kept = |filter: &str, threshold: f64| -> Vec<bool> {
        let config = json!({"filter": filter, "thresholds": [threshold], "fallback": true});
        let (weights, _) = method("rest", config).weigh(&rows, 0).unwrap();
        weights.iter().map(|w| *w > 0.0).collect()
    };
    for case in golden["filters"].as_array().unwrap() {
        let (filter, threshold) = (
            case["filter"].as_str().unwrap(),
            case["threshold"].as_f64().unwrap(),
        );
        assert_eq!(
            json!(kept(filter, threshold)),
            case["kept"],
            "{filter} {threshold}"
        );
    }
    for (filter, steps) in [
        ("absolute", [0.0, 0.2, 0.4, 0.6]),
        ("percentile", [0.0, 40.0, 80.0, 100.0]),
        ("between", [0.0, 0.3, 0.8, 1.0]),
    ] {
        let counts = steps.map(|t| kept(filter, t).iter().filter(|k| **k).count());
        assert!(counts.is_sorted_by(|a, b| a >= b), "{filter}: {counts:?}");
        if filter != "absolute" {
            let best = kept(filter, steps[3]);
            for group in algorithms::groups(&exp.prompt_key) {
                assert!(best[group].contains(&true), "{filter} loses a prompt");
            }
        }
    }
    let equal = pool(&[1, 1, 2], &[0.4; 3], &[]);
    for filter in ["percentile", "between"] {
        let config = json!({"filter": filter, "thresholds": [1.0]});
        let (weights, _) = method("rest", config).weigh(&equal, 0).unwrap();
        assert_eq!(weights, [1.0; 3], "{filter} with all-equal rewards");
    }
}

#[test]
fn rest_improves_by_phases_and_says_when_nothing_is_left() {
    let rest = method(
        "rest",
        json!({"improve_steps": 10, "thresholds": [0.0, 0.5, 0.9], "lr_decay": 0.5}),
    );
    let phases: Vec<u64> = [0, 9, 10, 25, 30, 59]
        .into_iter()
        .map(|s| rest.phase(s))
        .collect();
    assert_eq!(phases, [0, 0, 1, 2, 3, 5]);
    let scales: Vec<f64> = [0, 10, 25, 30, 59]
        .into_iter()
        .map(|s| rest.lr_scale(s))
        .collect();
    assert_close_slices("lr", &scales, &[1.0, 0.5, 0.25, 1.0, 0.25], 0.0);
    let DataSource::Pool(PoolRequirements {
        grow: Some(grow), ..
    }) = rest.requirements().source
    else {
        panic!("a pool that grows")
    };
    assert_eq!((grow.every, grow.samples, grow.keep_data), (30, 4, true));
    let rows = pool(&[1, 1, 2, 2], &[0.2, 0.6, 0.7, 0.7], &[]);
    let (weights, metrics) = rest.weigh(&rows, 4).unwrap();
    assert_eq!(weights, [0.0, 1.0, 1.0, 1.0], "> 0.5");
    let found = ["rest/improve", "rest/threshold", "rest/kept_frac"].map(|name| metrics[name]);
    assert_close_slices("metrics", &found, &[2.0, 0.5, 0.75], 0.0);
    let message = rest.weigh(&rows, 2).unwrap_err().to_string();
    assert!(
        message.contains("above 0.9 (Improve 3") && message.contains("algorithm.thresholds"),
        "{message}"
    );
    let fallback = method("rest", json!({"thresholds": [0.9], "fallback": true}));
    assert_eq!(
        fallback.weigh(&rows, 0).unwrap().0,
        [0.0, 1.0, 1.0, 1.0],
        "each prompt's best"
    );
    let mut twins = rows;
    twins.response_key = vec![1, 2, 3, 3];
    // the fallback's rows too count once
    for threshold in [0.5, 0.9] {
        let config = json!({"thresholds": [threshold], "deduplicate": true, "fallback": true});
        let once = method("rest", config);
        assert_eq!(once.weigh(&twins, 0).unwrap().0, [0.0, 1.0, 1.0, 0.0]);
    }
    for (config, words) in [
        (json!({"thresholds": []}), "algorithm.thresholds = []"),
        (json!({"thresholds": [0.9, 0.5]}), "never fall"),
        (json!({"thresholds": [1.5]}), "from 0 to 1"),
        (json!({"samples": 0}), "algorithm.samples = 0"),
        (
            json!({"gold": {"suffix": 2}}),
            "algorithm.gold needs algorithm.loss = \"gold\"",
        ),
    ] {
        let message = build("rest", &config, 0)
            .err()
            .expect("refused")
            .to_string();
        assert!(message.contains(words), "{message}");
    }
}
