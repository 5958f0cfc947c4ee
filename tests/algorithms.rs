//! The RL methods: contract tests over the registry, each method's identities, and golden losses and gradients of an
//! independent program (scripts/golden/algorithms.py). Gradients are checked in f64.

#[path = "algorithms/support.rs"]
pub mod support;
#[path = "algorithms/tabular.rs"]
pub mod tabular;

use algorithms::estimators::baseline::Fifo;
use algorithms::estimators::capability::{
    Normalisation, full_entropy, normalise, released_confidence, sampled_entropy, samples,
    temperature,
};
use algorithms::estimators::kl::{Estimator, adapt};
use algorithms::estimators::{explained_variance, gae::gae, mean, variance, whiten};
use algorithms::{
    Algorithm, DataSource, Estimate, Experience, Totals, build, metric_definition, mrt, registry,
    reinforce,
};
use candle_core::{Device, Tensor, Var};
use serde_json::{Value, json};
use support::*;
use tabular::*;
use testkit::{assert_close_slices, golden_json, values};

// ---- contract: every method, every mode

#[test]
fn the_loss_gradient_is_that_of_finite_differences() {
    // A detached importance weight makes a gradient that is not the slope of the loss; those have tests of their own.
    let detached = ["a_lol", "a_lol_seq", "r_lol", "r_gold"];
    for (name, algorithm, exp, now) in prepared() {
        if detached.contains(&name.as_str()) {
            continue;
        }
        let at = |logp: &[f64], values: &[f64]| {
            loss(
                algorithm.as_ref(),
                &exp,
                &Now {
                    logp: logp.to_vec(),
                    values: values.to_vec(),
                    ..now.clone()
                },
            )
            .loss
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        let slopes = |x: &[f64], f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let slope = |i: usize| {
                let moved = |by: f64| {
                    let mut x = x.to_vec();
                    x[i] += by;
                    f(&x)
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            };
            (0..x.len()).map(slope).collect()
        };
        let logp = slopes(&now.logp, &|logp| at(logp, &now.values));
        assert_close_slices(&format!("{name}: d/dlogp"), &found.d_logp, &logp, 1e-8);
        assert!(
            logp.iter().any(|g| g.abs() > 1e-4),
            "{name}: the gradient is not zero"
        );
        if algorithm.requirements().critic {
            let values = slopes(&now.values, &|values| at(&now.logp, values));
            assert_close_slices(
                &format!("{name}: d/dvalues"),
                &found.d_values,
                &values,
                1e-8,
            );
        }
    }
}

#[test]
fn micro_batches_add_up_and_group_order_does_not_matter() {
    for (name, algorithm, exp, now) in prepared() {
        let whole = loss(algorithm.as_ref(), &exp, &now);
        let groups = algorithms::groups(&exp.prompt_key);
        let mut order: Vec<usize> = (0..groups.len()).rev().collect();
        order.swap(0, 1);
        let (mut sum, mut metrics) = (0.0, std::collections::BTreeMap::<String, f64>::new());
        let mut d_logp = vec![0.0; now.logp.len()];
        for part in order.chunks(2) {
            let rows: Vec<usize> = part.iter().flat_map(|g| groups[*g].clone()).collect();
            let found = loss_of(
                algorithm.as_ref(),
                &exp.select(&rows),
                &now.select(&exp, &rows),
                Totals::of(&exp),
            );
            sum += found.loss;
            found
                .metrics
                .into_iter()
                .for_each(|(name, value)| *metrics.entry(name).or_default() += value);
            let tokens = rows.iter().flat_map(|r| exp.layout().range(*r));
            tokens.zip(found.d_logp).for_each(|(at, g)| d_logp[at] = g);
        }
        assert_close_slices(&name, &[sum], &[whole.loss], 1e-12);
        assert_close_slices(&name, &d_logp, &whole.d_logp, 1e-12);
        for (metric, value) in whole.metrics {
            assert_close_slices(
                &format!("{name}: {metric}"),
                &[metrics[&metric]],
                &[value],
                1e-9,
            );
        }
    }
}

#[test]
fn only_methods_with_a_critic_have_a_value_loss() {
    let mut n_critics = 0;
    for (name, algorithm, exp, now) in prepared() {
        let values = Var::new(now.values.as_slice(), &Device::Cpu).unwrap();
        let loss = algorithm.value_loss(values.as_tensor(), &exp, Totals::of(&exp));
        assert_eq!(loss.is_ok(), algorithm.requirements().critic, "{name}");
        n_critics += usize::from(loss.is_ok());
    }
    assert!(n_critics > 5, "only {n_critics} variants have a critic");
}

#[test]
fn a_row_without_tokens_changes_nothing() {
    for (name, algorithm, exp, now) in prepared() {
        let mut with = exp.clone();
        // in the middle of the first prompt's samples
        with.lens.insert(1, 0);
        with.prompt_key.insert(1, exp.prompt_key[0]);
        with.finished.insert(1, false);
        with.temperature.insert(1, 1.0);
        with.score.insert(1, 9.0);
        with.sampled.insert(1, true);
        with.response_key.insert(1, 99);
        [
            &mut with.text_metric,
            &mut with.weight,
            &mut with.prompt_value,
        ]
        .into_iter()
        .filter(|c| !c.is_empty())
        .for_each(|c| c.insert(1, 7.0));
        let totals = Totals::of(&exp);
        let found = loss_of(algorithm.as_ref(), &with, &now, totals);
        let wanted = loss_of(algorithm.as_ref(), &exp, &now, totals);
        assert_close_slices(&name, &[found.loss], &[wanted.loss], 0.0);
        assert_close_slices(&name, &found.d_logp, &wanted.d_logp, 0.0);
        let only = with.select(&[1]);
        let none = loss_of(algorithm.as_ref(), &only, &Now::default(), totals);
        assert_eq!((none.loss, none.d_logp.len()), (0.0, 0), "{name}");
    }
}

#[test]
fn extreme_log_probs_stay_finite() {
    for (name, algorithm, exp, now) in prepared() {
        for value in [-1e4, -200.0, 0.0] {
            for stride in [1, 2, 3] {
                let mut now = now.clone();
                now.logp.iter_mut().step_by(stride).for_each(|l| *l = value);
                let found = loss(algorithm.as_ref(), &exp, &now);
                let finite = found.loss.is_finite() && found.d_logp.iter().all(|g| g.is_finite());
                assert!(finite, "{name}: loss {} at {value}", found.loss);
            }
        }
    }
}

#[test]
fn a_restored_algorithm_goes_on_as_the_first() {
    for (name, config) in variants() {
        let new = || build(name.split(' ').next().unwrap(), &config, 3).unwrap();
        let step = |algorithm: &mut Box<dyn Algorithm>, seed: u64| {
            let keys: Vec<u64> = (seed..seed + 4).chain([u64::MAX]).collect();
            let unknown = algorithm.prompts_to_estimate(&keys);
            let estimates: Vec<Estimate> = unknown
                .iter()
                .map(|key| estimate(*key, *key as f32 * 0.1))
                .collect();
            algorithm.observe(&estimates);
            let plan = algorithm.plan(&keys, seed).unwrap();
            let sizes: Vec<usize> = plan.iter().map(|p| p.n).collect();
            let exp = match algorithm.requirements().source {
                DataSource::Rollouts => experience(&keys, &sizes, seed),
                DataSource::Pool(_) => stored(experience(&keys, &[1; 5], seed), seed),
                DataSource::Pairs => stored(experience(&keys, &[2; 5], seed), seed),
            };
            let (exp, metrics) = algorithm.prepare(exp).unwrap();
            (unknown, plan, exp, metrics)
        };
        let mut first = new();
        (1..4).for_each(|seed| drop(step(&mut first, seed)));
        let state = serde_json::to_string(&first.state()).unwrap();
        let mut second = new();
        second
            .restore(&serde_json::from_str(&state).unwrap())
            .unwrap();
        assert_eq!(first.state(), second.state(), "{name}");
        for seed in [3, 9] {
            assert_eq!(step(&mut first, seed), step(&mut second, seed), "{name}");
        }
        if first.state() != json!({}) {
            let foreign = second.restore(&json!({}));
            assert!(foreign.is_err(), "{name}: a foreign state is refused");
        }
    }
}

#[test]
fn all_metrics_are_defined_and_finite() {
    for (name, config) in variants() {
        let mut algorithm = build(name.split(' ').next().unwrap(), &config, 1).unwrap();
        let (exp, metrics) = prepare(algorithm.as_mut(), 1);
        let now = Now::near(&exp, 2);
        for (metric, value) in metrics
            .into_iter()
            .chain(loss(algorithm.as_ref(), &exp, &now).metrics)
        {
            assert!(value.is_finite(), "{name}: {metric} = {value}");
            assert!(
                metric_definition(&metric).is_some(),
                "{name}: {metric} has no definition"
            );
        }
    }
    assert!(metric_definition("first/policy/approxkl").is_some());
    assert!(metric_definition("no/such").is_none());
}

#[test]
fn each_key_and_metric_is_on_its_page() {
    let page = |name: &str| {
        let path = format!("{}/../docs/methods/{name}.md", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    for entry in registry() {
        for key in entry
            .resolve(&Value::Null)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
        {
            assert!(
                page(entry.page).contains(&format!("`{key}`")),
                "{}: key {key}",
                entry.name
            );
        }
    }
    let shared = page("ppo");
    for (name, config) in variants() {
        let method = name.split(' ').next().unwrap();
        let entry = registry().into_iter().find(|e| e.name == method).unwrap();
        let pages = format!("{shared}{}", page(entry.page));
        let mut algorithm = build(method, &config, 1).unwrap();
        let (exp, metrics) = prepare(algorithm.as_mut(), 1);
        let update = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 2)).metrics;
        for metric in metrics.keys().chain(update.keys()) {
            assert!(
                pages.contains(&format!("`{metric}`")),
                "{metric} is neither on the page of {name} nor on that of ppo"
            );
        }
    }
}

#[test]
fn defaults_build_and_mistakes_are_named_in_one_line() {
    for entry in registry() {
        assert!(
            entry
                .build(&entry.resolve(&Value::Null).unwrap(), 0)
                .is_ok(),
            "{}",
            entry.name
        );
        assert!(entry.build(&json!({}), 0).is_ok(), "{}", entry.name);
        assert!(entry.build(&Value::Null, 0).is_ok(), "{}", entry.name);
    }
    #[track_caller]
    fn check(name: &str, config: Value, words: &[&str]) {
        let message = build(name, &config, 0).err().expect("refused").to_string();
        assert!(
            !message.contains('\n') && words.iter().all(|w| message.contains(w)),
            "{message}"
        );
    }
    check(
        "pp",
        json!({}),
        &["algorithm.name = \"pp\"", "did you mean \"ppo\""],
    );
    check(
        "ppo",
        json!({"kl_coeff": 0.1}),
        &["unknown key \"algorithm.kl_coeff\"", "algorithm.kl_coef"],
    );
    check(
        "ppo",
        json!({"clip": "a"}),
        &["algorithm.clip", "expected a number"],
    );
    check(
        "ppo",
        json!({"kl_estimator": "k4"}),
        &["algorithm.kl_estimator", "k3"],
    );
    check("ppo", json!([]), &["expected a table"]);
    for (key, value) in [
        ("kl_coef", -0.1),
        ("clip", 0.0),
        ("clip", 1.0),
        ("gamma", 1.5),
        ("lam", -0.1),
        ("dual_clip", 0.5),
        ("kl_target", 0.0),
        ("kl_horizon", 0.0),
    ] {
        check(
            "ppo",
            json!({ key: value }),
            &[&format!("algorithm.{key} = "), "expected"],
        );
    }
    check("ppo", json!({"epochs": 0}), &["algorithm.epochs = 0"]);
    check("ppo", json!({"samples": 0}), &["algorithm.samples = 0"]);
    check(
        "esrl",
        json!({"mode": "fast"}),
        &[
            "algorithm.mode = \"fast\"",
            "paper",
            "released",
            "corrected",
        ],
    );
    check(
        "esrl",
        json!({"bta": 0.3}),
        &["algorithm.bta", "algorithm.beta"],
    );
    check(
        "esrl",
        json!({"mode": "released", "k_max": 2}),
        &["unknown key \"algorithm.k_max\""],
    );
    check(
        "esrl",
        json!({"mode": "released", "ppo": {"clp": 2}}),
        &["algorithm.ppo.clp", "algorithm.ppo.clip"],
    );
    check(
        "esrl",
        json!({"mode": "released", "ppo": {"clip": 2}}),
        &["algorithm.ppo.clip = 2"],
    );
    check(
        "esrl",
        json!({"mode": "released", "beta": 1.0}),
        &["algorithm.beta = 1"],
    );
    check("esrl", json!({"k_max": 0}), &["algorithm.k_max = 0"]);
    check("esrl", json!({"k_floor": 5}), &["algorithm.k_floor = 5"]);
    check(
        "esrl",
        json!({"k_floor": 0, "beta": 1.0}),
        &["algorithm.beta = 1"],
    );
    check(
        "esrl",
        json!({"tau_min": 1.1}),
        &["algorithm.tau_min = 1.1"],
    );
    check("esrl", json!({"tau_min": 0.0}), &["algorithm.tau_min = 0"]);
    check("esrl", json!({"alpha": 0.0}), &["algorithm.alpha = 0"]);
    check("esrl", json!({"fifo": 0}), &["algorithm.fifo = 0"]);
    check(
        "esrl",
        json!({"prompt_baseline": 1.5}),
        &["algorithm.prompt_baseline"],
    );
    check(
        "esrl",
        json!({"capability": "speed"}),
        &["algorithm.capability", "full_entropy"],
    );
}

#[test]
fn columns_of_a_wrong_length_and_broken_scores_are_refused() {
    for (name, config) in variants() {
        let mut algorithm = build(name.split(' ').next().unwrap(), &config, 1).unwrap();
        let needs = algorithm.requirements();
        let whole = || match needs.source {
            DataSource::Rollouts => experience(&[1, 2], &[1, 1], 1),
            DataSource::Pool(_) => stored(experience(&[1, 2], &[1, 1], 1), 1),
            DataSource::Pairs => stored(experience(&[1, 2], &[2, 2], 1), 1),
        };
        if needs.reference {
            let mut exp = whole();
            exp.logp_ref.pop();
            let message = algorithm.prepare(exp).unwrap_err().to_string();
            assert!(message.contains("logp_ref"), "{name}: {message}");
        }
        let scored = match &needs.source {
            DataSource::Rollouts => true,
            DataSource::Pool(pool) => pool.score,
            DataSource::Pairs => false,
        };
        if scored {
            let mut exp = whole();
            exp.score[1] = f32::NAN;
            let message = algorithm.prepare(exp).unwrap_err().to_string();
            assert!(message.contains("response 2 is NaN"), "{name}: {message}");
        }
    }
}

// ---- against the independent program

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

// ---- estimators

#[test]
fn gae_closed_forms() {
    let (rewards, values) = ([1.0, -2.0, 0.5], [0.3, 0.7, -0.4]);
    let (a, r) = gae(&rewards, &[0.0; 3], 1.0, 1.0);
    assert_close_slices("reward to go", &a, &[-0.5, -1.5, 0.5], 1e-12);
    assert_eq!(a, r);
    let (a, r) = gae(&rewards, &values, 1.0, 1.0);
    assert_close_slices("return less value", &a, &[-0.8, -2.2, 0.9], 1e-12);
    assert_close_slices("returns", &r, &[-0.5, -1.5, 0.5], 1e-12);
    let (a, _) = gae(&rewards, &values, 0.9, 0.0);
    assert_close_slices(
        "delta",
        &a,
        &[1.0 + 0.63 - 0.3, -2.0 - 0.36 - 0.7, 0.9],
        1e-12,
    );
    assert_eq!(gae(&[], &[], 1.0, 0.95), (vec![], vec![]));
}

#[test]
fn whitening() {
    let x = [3.0, -1.0, 4.0, 1.5, -9.0];
    let mut white = x;
    whiten::whiten(&mut white);
    assert_close_slices(
        "mean, variance",
        &[mean(&white), variance(&white)],
        &[0.0, 1.0],
        1e-8,
    );
    let mut scaled = x;
    whiten::whiten_scale_only(&mut scaled);
    assert_close_slices(
        "mean, variance",
        &[mean(&scaled), variance(&scaled)],
        &[mean(&x), 1.0],
        1e-8,
    );
    for mut same in [vec![2.0], vec![2.0; 4], vec![]] {
        whiten::whiten(&mut same);
        assert!(same.iter().all(|v| *v == 0.0));
    }
}

#[test]
fn kl_estimators_and_controller() {
    let x = 0.5;
    let by = |e: Estimator, x: f64| e.of(x);
    let all = [
        Estimator::K1,
        Estimator::K2,
        Estimator::K3,
        Estimator::Abs,
        Estimator::Positive,
    ];
    let found = all.map(|e| by(e, x));
    assert_close_slices(
        "at 0.5",
        &found,
        &[0.5, 0.125, (-0.5f64).exp() - 0.5, 0.5, 0.5],
        1e-12,
    );
    let found = all.map(|e| by(e, -x));
    assert_close_slices(
        "at -0.5",
        &found,
        &[-0.5, 0.125, 0.5f64.exp() - 1.5, 0.5, 0.0],
        1e-12,
    );
    assert!(by(Estimator::K3, -1e4).is_finite());
    // k1 and k3 are unbiased: enumerate three outcomes
    let (p, q) = ([0.2, 0.5, 0.3], [0.4, 0.4, 0.2f64]);
    let kl: f64 = p
        .iter()
        .zip(&q)
        .map(|(p, q)| p * (p / q as &f64).ln())
        .sum();
    for e in [Estimator::K1, Estimator::K3] {
        let expected: f64 = p
            .iter()
            .zip(&q)
            .map(|(p, q)| p * e.of((p / q as &f64).ln()))
            .sum();
        assert_close_slices("expectation", &[expected], &[kl], 1e-12);
    }
    // Ziegler: clipped relative error, times episodes over horizon
    assert_close_slices("on target", &[adapt(0.1, 6.0, 64, 6.0, 1e4)], &[0.1], 1e-12);
    assert_close_slices(
        "far above",
        &[adapt(0.1, 60.0, 64, 6.0, 1e4)],
        &[0.1 * (1.0 + 0.2 * 64.0 / 1e4)],
        1e-12,
    );
    assert_close_slices(
        "below",
        &[adapt(0.1, 5.4, 100, 6.0, 1e3)],
        &[0.1 * (1.0 - 0.1 * 0.1)],
        1e-12,
    );
    assert_close_slices(
        "far below",
        &[adapt(0.1, -3.0, 100, 6.0, 1e3)],
        &[0.1 * (1.0 - 0.2 * 0.1)],
        1e-12,
    );
}

#[test]
fn variance_explained_by_the_critic() {
    let returns = [1.0, 2.0, 4.0];
    assert_close_slices(
        "perfect",
        &[explained_variance(&returns, &returns)],
        &[1.0],
        1e-12,
    );
    assert_close_slices(
        "constant",
        &[explained_variance(&[5.0; 3], &returns)],
        &[0.0],
        1e-12,
    );
    assert_eq!(explained_variance(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
}

#[test]
fn the_queue_forgets_the_oldest() {
    let mut queue = Fifo::new(3);
    assert_eq!((queue.mean(), queue.std()), (0.0, 0.0));
    queue.push(&[1.0, 2.0]);
    assert_eq!(queue.mean(), 1.5);
    queue.push(&[3.0, 6.0]);
    assert_eq!(
        (queue.values(), queue.mean()),
        (vec![2.0, 3.0, 6.0], 11.0 / 3.0)
    );
    queue.push(&[9.0, 8.0, 7.0, 5.0]);
    assert_eq!(queue.values(), [8.0, 7.0, 5.0]);
    let mut last = Fifo::new(1);
    last.push(&[4.0, -2.0]);
    assert_eq!((last.mean(), last.std()), (-2.0, 0.0));
    let mut endless = Fifo::new(usize::MAX);
    (1..=100).for_each(|i| endless.push(&[f64::from(i)]));
    assert_eq!(endless.mean(), 50.5);
}

// ---- PPO

fn ppo(config: Value) -> Box<dyn Algorithm> {
    build("ppo", &config, 0).unwrap()
}

#[test]
fn ppo_draws_as_many_samples_as_asked() {
    for name in ["ppo", "ma_ppo"] {
        let mut algorithm = build(name, &json!({"samples": 3}), 0).unwrap();
        assert_eq!(algorithm.requirements().max_samples, 3);
        let plan = algorithm.plan(&[7, 8], 0).unwrap();
        assert_eq!(plan.iter().map(|p| p.n).collect::<Vec<_>>(), [3, 3]);
        assert!(plan.iter().all(|p| p.temperature.is_none()));
    }
}

#[test]
fn ppo_begins_as_policy_gradient() {
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
fn ppo_rewards_sum_to_score_less_kl() {
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
fn a_constant_score_gives_ppo_no_policy_gradient_when_values_are_right() {
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

// ---- MRT and REINFORCE on a tabular policy

#[test]
fn mrt_identities() {
    let mrt = |alpha: f64, rewards: &[f64]| {
        let rewards = constant(rewards);
        tabular(&LOGITS, move |logp| {
            mrt::loss(&(logp * alpha).unwrap(), &rewards).unwrap()
        })
    };
    assert_close_slices("(a) all of Ω, α = 1", &mrt(1.0, &REWARDS), &exact(), 1e-12);
    let shifted = REWARDS.map(|r| r + 10.0);
    assert_close_slices(
        "(b) a baseline cancels",
        &mrt(0.3, &shifted),
        &mrt(0.3, &REWARDS),
        1e-12,
    );
    // (c) −Q_i (r_i − r̄) α with respect to log p(y_i)
    let alpha = 0.3;
    let var = Var::new(&LOGITS, &Device::Cpu).unwrap();
    let loss = mrt::loss(&(var.as_tensor() * alpha).unwrap(), &constant(&REWARDS)).unwrap();
    let found = values(loss.backward().unwrap().get(&var).unwrap());
    let q = softmax(&LOGITS.map(|l| alpha * l));
    let r_mean: f64 = q.iter().zip(REWARDS).map(|(q, r)| q * r).sum();
    let wanted: Vec<f64> = q
        .iter()
        .zip(REWARDS)
        .map(|(q, r)| -alpha * q * (r - r_mean))
        .collect();
    assert_close_slices("(c) closed form", &found, &wanted, 1e-12);
    // (d) α → 0: REINFORCE with the mean of the samples as baseline, over k
    let small: Vec<f64> = mrt(1e-7, &REWARDS).iter().map(|g| g / 1e-7).collect();
    let centred = REWARDS.map(|r| (r - mean(&REWARDS)) / 5.0);
    let wanted = tabular(&LOGITS, |logp| {
        reinforce::loss(logp, &constant(&centred)).unwrap()
    });
    assert_close_slices("(d) small α", &small, &wanted, 1e-6);
    // (e) one sample
    let one = tabular(&LOGITS, |logp| {
        mrt::loss(&logp.narrow(0, 2, 1).unwrap(), &constant(&[3.0])).unwrap()
    });
    assert_close_slices("(e) k = 1", &one, &[0.0; 5], 1e-15);
}

#[test]
fn reinforce_is_unbiased_whatever_the_baseline() {
    let p = softmax(&LOGITS);
    for b in [0.0, 1.7, -20.0] {
        let mut expected = vec![0.0; 5];
        for y in 0..5 {
            let weight = constant(&[REWARDS[y] - b]);
            let g = tabular(&LOGITS, |logp| {
                reinforce::loss(&logp.narrow(0, y, 1).unwrap(), &weight).unwrap()
            });
            expected.iter_mut().zip(g).for_each(|(e, g)| *e += p[y] * g);
        }
        assert_close_slices("E[gradient]", &expected, &exact(), 1e-12);
    }
}

// ---- ESRL

fn esrl(config: Value) -> Box<dyn Algorithm> {
    build("esrl", &config, 0).unwrap()
}

#[test]
fn equation_8() {
    let unfloored = |cap: &[f64], k_max, beta| samples(cap, k_max, 0, beta);
    // equal prompts get ⌈(1 − β) k_max⌉ each; 20 · 0.7 is whole and must not be rounded up
    assert_eq!(unfloored(&[0.4; 3], 20, 0.3), [14; 3]);
    assert_eq!(unfloored(&[0.4; 3], 1, 0.3), [1; 3]);
    assert_eq!(unfloored(&[0.4; 3], 4, 0.0), [4; 3]);
    // the case the paper does not mention: 20 − 24·0.9/0.93 < 0
    assert_eq!(
        unfloored(&[0.9, 0.01, 0.01, 0.01], 20, 0.3),
        [0, 20, 20, 20]
    );
    assert_eq!(
        samples(&[0.9, 0.01, 0.01, 0.01], 20, 1, 0.3),
        [1, 20, 20, 20]
    );
    // Σ Cap ≤ 0 or not finite: all alike
    for cap in [
        [0.0, 0.0],
        [-3.0, 1.0],
        [f64::NAN, 1.0],
        [f64::INFINITY, 1.0],
    ] {
        assert_eq!(samples(&cap, 10, 1, 0.3), [7, 7]);
    }
    assert!(samples(&[], 4, 1, 0.3).is_empty());
    for seed in 0..50 {
        let cap: Vec<f64> = uniform(6, seed).iter().map(|u| 0.5 + 0.5 * u).collect();
        let (k_max, beta) = (1 + (seed % 20) as usize, 0.1 * (seed % 6) as f64);
        let k = unfloored(&cap, k_max, beta);
        let (sum, least) = (
            k.iter().sum::<usize>() as f64,
            (1.0 - beta) * 6.0 * k_max as f64,
        );
        assert!(least - 1e-6 <= sum && sum < least + 6.0, "{k:?}");
        assert!(k.iter().all(|k| *k <= k_max));
        let scaled: Vec<f64> = cap.iter().map(|c| 7.0 * c).collect();
        assert_eq!(
            unfloored(&scaled, k_max, beta),
            k,
            "scaling changes nothing"
        );
        for (a, b) in (0..6).flat_map(|a| (0..6).map(move |b| (a, b))) {
            assert!(
                cap[a] < cap[b] || k[a] <= k[b],
                "more able, not more samples"
            );
        }
    }
}

#[test]
fn equation_9_and_the_capabilities() {
    assert_close_slices(
        "τ",
        &[temperature(20, 20, 0.6, 1.0), temperature(5, 20, 0.6, 1.0)],
        &[1.0, 0.7],
        1e-12,
    );
    let half = 0.5f32.ln();
    assert_close_slices(
        "Eq. 7",
        &[sampled_entropy(&[half, half])],
        &[1.0 - 0.5 * 2f64.ln()],
        1e-7,
    );
    assert_close_slices(
        "Eq. 7, least",
        &[sampled_entropy(&[-1.0])],
        &[1.0 - (-1f64).exp()],
        1e-12,
    );
    assert_eq!(
        [
            sampled_entropy(&[]),
            sampled_entropy(&[0.0]),
            sampled_entropy(&[f32::NEG_INFINITY])
        ],
        [1.0; 3]
    );
    assert_close_slices("whole entropy", &[full_entropy(&[0.5, 1.5])], &[0.0], 1e-12);
    assert_close_slices(
        "released",
        &[released_confidence(&[1.0, 0.0])],
        &[1.0 + 0.5 * 1f64.exp()],
        1e-12,
    );
    assert_eq!(
        normalise(&[-2.0, 0.0, 2.0], Normalisation::MinMax),
        [0.0, 0.5, 1.0]
    );
    assert_eq!(normalise(&[3.0, 3.0], Normalisation::MinMax), [1.0, 1.0]);
    assert_eq!(normalise(&[0.0], Normalisation::Sigmoid), [0.5]);
    assert_eq!(normalise(&[-4.0], Normalisation::None), [-4.0]);
}

#[test]
fn a_prompt_is_estimated_greedily_once_and_then_remembered() {
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
fn random_sizes_are_even_and_repeatable() {
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
fn equal_rewards_give_no_gradient() {
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
fn the_baseline_moves_single_samples_only() {
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
fn a_single_sample_without_a_record_still_learns() {
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
fn needs_follow_mode_and_settings() {
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

#[test]
fn released_drops_the_most_confident() {
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

// ---- learning

#[test]
fn every_method_improves_a_tabular_policy() {
    let start = Bandit::new().expected_reward();
    let ceiling = Bandit::new().best();
    let mut configs = vec![
        ("ppo", json!({"kl_coef": 0.0})),
        ("ma_ppo", json!({"kl_coef": 0.0, "ratio": "macro"})),
        ("esrl", json!({"mode": "released", "ppo": {"kl_coef": 0.0}})),
        ("esrl", json!({"mode": "paper", "k_max": 8, "alpha": 1.0})),
    ];
    for baseline in [
        "cumulative",
        "ema",
        "fifo",
        "batch",
        "leave_one_out",
        "none",
    ] {
        let config = json!({"kl_coef": 0.0, "samples": 4, "baseline": baseline});
        configs.push(("reinforce", config));
    }
    configs.extend([
        ("mrt", json!({"kl_coef": 0.0})),
        (
            "mrt",
            json!({"kl_coef": 0.0, "deduplicate": true, "alpha": 0.5}),
        ),
        ("rloo", json!({"kl_coef": 0.0})),
        ("rloo", json!({"kl_coef": 0.0, "epochs": 4})),
        ("grpo", json!({"beta": 0.0})),
        (
            "grpo",
            json!({"beta": 0.0, "epochs": 4, "scale_rewards": "none"}),
        ),
    ]);
    for k_max in [1, 2, 4, 8] {
        configs.push(("esrl", json!({"kl_coef": 0.0, "k_max": k_max})));
    }
    for (name, config) in configs {
        let mut bandit = Bandit::new();
        let mut algorithm = build(name, &config, 7).unwrap();
        for step in 0..60 {
            bandit.step(algorithm.as_mut(), step);
        }
        let gain = (bandit.expected_reward() - start) / (ceiling - start);
        eprintln!("{name} {config}: {gain:.3}");
        assert!(gain > 0.5, "{name} {config}: {gain} of what can be gained");
    }
}

/// Where responses are scored untempered, the sampler's tempered log-probs must not stand in for the policy's own.
#[test]
fn untempered_scoring_reads_log_probs_anew_where_they_are_used() {
    let rescore = |config: Value| {
        build("esrl", &config, 1)
            .unwrap()
            .requirements()
            .recompute_logp_old
    };
    assert!(!rescore(json!({ "mode": "paper" })));
    assert!(rescore(json!({ "mode": "paper", "capability": "entropy" })));
    assert!(rescore(json!({ "mode": "paper", "kl_coef": 0.1 })));
    assert!(rescore(
        json!({ "mode": "paper", "length_normalise": true })
    ));
    assert!(!rescore(json!({ "mode": "corrected" })));
}

/// E_μ[min(π/μ, C)·∇ log π·r] is ∇E_π[r] where no ratio is cut.
#[test]
fn importance_weights_make_another_samplers_tokens_the_policys() {
    let (pi, mu, reward) = ([0.5f64, 0.3, 0.2], [0.2f64, 0.5, 0.3], [1.0, -2.0, 0.5]);
    let one_of_each = Experience {
        lens: vec![1; 4],
        sampled: vec![true, true, true, false],
        logp_old: [pi[0], pi[1], pi[2], 0.9].map(|p| p.ln() as f32).to_vec(),
        logp_sampled: [mu[0], mu[1], mu[2], 0.0001]
            .map(|p| p.ln() as f32)
            .to_vec(),
        ..Experience::default()
    };
    let (weights, metrics) = algorithms::importance::weights(&one_of_each, f64::INFINITY);
    assert_eq!(weights[3], 1.0, "the data's own answer was not drawn");
    let mean: f64 = pi.iter().zip(mu).map(|(p, m)| p / m / 3.0).sum();
    assert!((metrics["sampling/importance_ratio"] - mean).abs() < 1e-6);
    assert_eq!(metrics["sampling/truncated"], 0.0);

    let logits = Var::new(pi.map(f64::ln).as_slice(), &Device::Cpu).unwrap();
    let logp = candle_nn::ops::log_softmax(logits.as_tensor(), 0).unwrap();
    let constant = |x: Vec<f64>| Tensor::new(x, &Device::Cpu).unwrap();
    let gradient = |loss: Tensor| {
        let loss = loss.sum_all().unwrap();
        testkit::values(loss.backward().unwrap().get(&logits).unwrap())
    };
    let wanted = gradient((logp.exp().unwrap() * constant(reward.to_vec())).unwrap());
    let weighed = algorithms::importance::weigh_gradient(&logp, &weights[..3]).unwrap();
    assert_eq!(testkit::values(&weighed), testkit::values(&logp));
    let by_mu = constant(mu.iter().zip(reward).map(|(m, r)| m * r).collect());
    let found = gradient((weighed * by_mu).unwrap());
    testkit::assert_close_slices("gradient", &found, &wanted, 1e-6);

    let (cut, metrics) = algorithms::importance::weights(&one_of_each, 2.0);
    assert_eq!(cut[0], 2.0, "2.5 is above the cap");
    assert_eq!(cut[1..], weights[1..]);
    assert!((metrics["sampling/truncated"] - 1.0 / 3.0).abs() < 1e-12);
}
