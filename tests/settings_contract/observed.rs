//! All that a method does with made-up data, as text; and the other values that a key may have.

use crate::algorithms::support::{Now, estimate, experience, loss_of, stored};
use algorithms::{DataSource, Experience, PoolColumns, Totals, build};
use serde_json::{Value, json};
use std::fmt::Write;

/// The table with other values of one key, those of which the method can be built.
pub fn alternatives(method: &str, all: &Value, key: &str, value: &Value) -> Vec<Value> {
    let with = |value: Value| {
        let mut other = all.clone();
        let pointer = format!("/{}", key.replace('.', "/"));
        *other.pointer_mut(&pointer).unwrap() = value;
        other
    };
    let candidates: Vec<Value> = match value {
        Value::Bool(b) => vec![json!(!b)],
        Value::String(text) => {
            let error = build(method, &with(json!("no such value")), 1)
                .err()
                .unwrap();
            let error = error.to_string();
            // a key that decides which others there are has an error of its own
            let known = error
                .split_once("expected one of ")
                .map_or("", |(_, known)| known);
            let known = known.split('"').skip(1).step_by(2);
            known.filter(|word| word != text).map(Value::from).collect()
        }
        Value::Array(_) => vec![json!([1]), json!([0.5]), json!([2, 2]), json!([0.1, 0.2])],
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap();
            let near = [0.5 * x, 1.5 * x, 0.0, 0.05, 0.5, 1.1, 2.5, 90.0];
            near.into_iter()
                .filter(|y| *y != x)
                .map(Value::from)
                .collect()
        }
        Value::Number(n) => {
            let x = n.as_u64().unwrap();
            let near = [0, 1, 2, 3, 4, 7, x + 1, 2 * x];
            near.into_iter()
                .filter(|y| *y != x)
                .map(Value::from)
                .collect()
        }
        other => panic!("{method}: {key} = {other}"),
    };
    let tables = candidates.into_iter().map(with);
    tables
        .filter(|table| build(method, table, 1).is_ok())
        .collect()
}

/// Requirements, plans, weights, advantages, losses, gradients and state of three steps.
pub fn observe(method: &str, config: &Value) -> String {
    let mut algorithm = build(method, config, 1).unwrap();
    let mut text = String::new();
    let needs = algorithm.requirements();
    write!(text, "{needs:?}").unwrap();
    for step in 0..60 {
        write!(
            text,
            "{} {:e};",
            algorithm.phase(step),
            algorithm.lr_scale(step)
        )
        .unwrap();
    }
    let keys = [1, 2, 3, 4, u64::MAX];
    for step in 0..3 {
        let estimates: Vec<_> = algorithm
            .prompts_to_estimate(&keys)
            .iter()
            .map(|k| estimate(*k, (k % 7) as f32 * 0.2))
            .collect();
        algorithm.observe(&estimates);
        let plan = algorithm.plan(&keys, step);
        write!(text, "{plan:?}").unwrap();
        let exp = rows(&needs.source, needs.critic, &keys, step + 1);
        write!(text, "{:?}", algorithm.keep(&exp)).unwrap();
        if let DataSource::Pool(_) = needs.source {
            for scale in [1.0, 0.4] {
                for phase in 0..4 {
                    let pool = pool(&exp, scale);
                    match algorithm.weigh(&pool, phase) {
                        Ok(weighed) => write!(text, "{weighed:?}").unwrap(),
                        Err(why) => write!(text, "{why}").unwrap(),
                    }
                }
            }
        }
        let (exp, metrics) = algorithm.prepare(exp).unwrap();
        write!(text, "{metrics:?}{exp:?}").unwrap();
        let now = Now::near(&exp, 2);
        let found = loss_of(algorithm.as_ref(), &exp, &now, Totals::of(&exp));
        write!(
            text,
            "{:?}{:?}{:?}",
            found.loss, found.d_logp, found.d_values
        )
        .unwrap();
        write!(text, "{:?}{}", found.metrics, algorithm.state()).unwrap();
    }
    text
}

fn rows(source: &DataSource, critic: bool, keys: &[u64], seed: u64) -> Experience {
    let mut exp = match source {
        DataSource::Rollouts if critic => experience(keys, &[1; 5], seed),
        DataSource::Rollouts => experience(keys, &[3, 1, 2, 4, 1], seed),
        DataSource::Pool(_) => stored(experience(keys, &[3, 1, 2, 4, 1], seed), seed),
        DataSource::Pairs => stored(experience(keys, &[2; 5], seed), seed),
    };
    // two equal responses to one prompt
    if !critic {
        exp.response_key[1] = exp.response_key[0];
    }
    exp
}

fn pool(exp: &Experience, scale: f32) -> PoolColumns {
    PoolColumns {
        prompt_key: exp.prompt_key.clone(),
        lens: exp.lens.clone(),
        response_key: exp.response_key.clone(),
        sampled: exp.sampled.clone(),
        score: exp.score.iter().map(|s| scale * s).collect(),
        prompt_value: exp.prompt_value.clone(),
    }
}
