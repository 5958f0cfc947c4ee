//! What every method and mode must satisfy: gradients, sums, state, metrics, sample counts.

use super::support::*;
use super::variants::*;
use algorithms::{Algorithm, DataSource, Estimate, Totals, build, metric_definition, registry};
use candle_core::{Device, Var};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::assert_close_slices;

#[test]
fn gradients_equal_finite_differences() {
    // A detached importance weight makes a gradient that is not the slope of the loss. Those
    // methods have tests of their own.
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
fn losses_of_micro_batches_add_up_in_any_order() {
    for (name, algorithm, exp, now) in prepared() {
        let whole = loss(algorithm.as_ref(), &exp, &now);
        let groups = algorithms::groups(&exp.prompt_key);
        let mut order: Vec<usize> = (0..groups.len()).rev().collect();
        order.swap(0, 1);
        let (mut sum, mut metrics) = (0.0, BTreeMap::<String, f64>::new());
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
fn losses_are_finite_at_extreme_log_probs() {
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
fn a_restored_method_continues_exactly() {
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
            assert!(foreign.is_err(), "{name}: a foreign state is an error");
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
fn every_key_and_metric_is_documented_on_its_page() {
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
fn columns_of_wrong_length_and_nan_scores_are_errors() {
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

/// Memory is planned from the requirements, so a plan must never ask for more.
#[test]
fn a_plan_never_exceeds_the_required_samples() {
    let keys = [1, 2, 3, 4, 3, u64::MAX];
    for (name, config) in variants() {
        // ESRL decides per prompt; every other method samples the same number at each
        let varies = name.starts_with("esrl") && config["mode"] != "released";
        for seed in 0..3 {
            let mut algorithm = build(name.split(' ').next().unwrap(), &config, seed).unwrap();
            let most = algorithm.requirements().max_samples;
            for step in 0..4 {
                let estimates: Vec<Estimate> = algorithm
                    .prompts_to_estimate(&keys)
                    .iter()
                    .map(|key| estimate(*key, (key % 5) as f32 - 1.0))
                    .collect();
                algorithm.observe(&estimates);
                let plan = algorithm.plan(&keys, step).unwrap();
                assert_eq!(plan.len(), keys.len(), "{name}");
                let n: Vec<usize> = plan.iter().map(|prompt| prompt.n).collect();
                assert!(
                    n.iter().all(|n| *n <= most),
                    "{name}: {n:?}, at most {most}"
                );
                assert!(
                    varies || n.iter().all(|n| *n == most),
                    "{name}: {n:?}, not {most}"
                );
                if algorithm.requirements().source == DataSource::Rollouts {
                    let exp = experience(&keys[..4], &n[..4], seed + step);
                    algorithm.prepare(exp).unwrap();
                }
            }
        }
    }
    let needs = |config| build("rwr", &config, 0).unwrap().requirements().max_samples;
    assert_eq!(needs(json!({"samples": 3})), 3);
    assert_eq!(needs(json!({})), 1);
}
