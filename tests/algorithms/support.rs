//! Rollouts made of numbers, and the loss with its gradients.

use algorithms::{Algorithm, Estimate, Experience, Scores, Totals};
use candle_core::{Device, Var};
use rand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::values;

/// The same rows as stored answers: nothing was sampled, scores lie in 0..1.
pub fn stored(mut exp: Experience, seed: u64) -> Experience {
    exp.logp_sampled.clear();
    exp.max_prob.clear();
    exp.entropy.clear();
    exp.finished.fill(true);
    exp.sampled.fill(false);
    let unit = uniform(2 * exp.n_rows(), seed + 7);
    let (score, value) = unit.split_at(exp.n_rows());
    exp.score = score.iter().map(|u| *u as f32).collect();
    exp.prompt_value = value.iter().map(|u| 0.5 * *u as f32).collect();
    exp
}

pub fn estimate(prompt_key: u64, score: f32) -> Estimate {
    Estimate {
        prompt_key,
        score,
        text_metric: 0.5,
        logps: vec![-score - 0.1, -0.2],
        entropies: vec![score, 0.3],
    }
}

/// Random rollouts with every column: `sizes[i]` rows of prompt `keys[i]`, of 1 to 6 tokens.
pub fn experience(keys: &[u64], sizes: &[usize], seed: u64) -> Experience {
    let mut rng = run::stream(seed, "rollouts", 0, 0);
    let prompt_key: Vec<u64> = keys
        .iter()
        .zip(sizes)
        .flat_map(|(k, n)| vec![*k; *n])
        .collect();
    let r = prompt_key.len();
    let lens: Vec<usize> = (0..r).map(|_| rng.random_range(1..=6)).collect();
    let m = lens.iter().sum();
    let mut column = |n: usize, low: f32, high: f32| {
        (0..n)
            .map(|_| rng.random_range(low..high))
            .collect::<Vec<f32>>()
    };
    let logp_old = column(m, -3.0, -0.01);
    let shift = column(m, -0.3, 0.3);
    Experience {
        lens,
        prompt_key,
        finished: (0..r).map(|row| row % 3 != 1).collect(),
        temperature: vec![1.0; r],
        score: column(r, -2.0, 2.0),
        sampled: vec![true; r],
        response_key: (0..r as u64).collect(),
        macro_start: (0..m).map(|t| t % 3 == 0).collect(),
        text_metric: column(r, 0.0, 1.0),
        logp_sampled: logp_old.clone(),
        logp_ref: logp_old.iter().zip(&shift).map(|(l, s)| l + s).collect(),
        logp_old,
        kl_exact: column(m, 0.0, 0.1),
        entropy: column(m, 0.0, 2.0),
        max_prob: column(m, 0.2, 1.0),
        values: column(m, -1.0, 1.0),
        ..Experience::default()
    }
}

pub fn uniform(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = run::stream(seed, "uniform", 0, 0);
    (0..n).map(|_| rng.random()).collect()
}

pub fn wide(column: &[f32]) -> Vec<f64> {
    column.iter().map(|v| f64::from(*v)).collect()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("numbers")
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect()
}

/// The policy's log-probabilities and entropies and the critic's values, flat.
#[derive(Clone, Default)]
pub struct Now {
    pub logp: Vec<f64>,
    pub entropy: Vec<f64>,
    pub values: Vec<f64>,
}

impl Now {
    pub fn near(exp: &Experience, seed: u64) -> Self {
        let n = exp.n_tokens();
        let moved = |column: &[f32], by: f64, seed: u64| {
            wide(column)
                .iter()
                .zip(uniform(n, seed))
                .map(|(v, u)| v + by * (u - 0.5))
                .collect::<Vec<f64>>()
        };
        Self {
            logp: moved(&exp.logp_old, 0.7, seed),
            entropy: uniform(n, seed + 2),
            values: moved(&exp.values, 0.9, seed + 1),
        }
    }

    pub fn select(&self, exp: &Experience, rows: &[usize]) -> Self {
        let layout = exp.layout();
        let tokens = |x: &[f64]| {
            rows.iter()
                .flat_map(|r| x[layout.range(*r)].to_vec())
                .collect()
        };
        Self {
            logp: tokens(&self.logp),
            entropy: tokens(&self.entropy),
            values: tokens(&self.values),
        }
    }
}

pub struct Found {
    pub loss: f64,
    pub d_logp: Vec<f64>,
    pub d_values: Vec<f64>,
    pub metrics: BTreeMap<String, f64>,
}

/// The loss of a whole optimiser step and its gradients.
pub fn loss(algorithm: &dyn Algorithm, exp: &Experience, now: &Now) -> Found {
    loss_of(algorithm, exp, now, Totals::of(exp))
}

pub fn loss_of(algorithm: &dyn Algorithm, exp: &Experience, now: &Now, totals: Totals) -> Found {
    let var = |x: &[f64]| Var::new(x, &Device::Cpu).unwrap();
    let (logp, entropy, value) = (var(&now.logp), var(&now.entropy), var(&now.values));
    let scores = Scores {
        logp: logp.as_tensor().clone(),
        entropy: entropy.as_tensor().clone(),
    };
    let mut out = algorithm.policy_loss(&scores, exp, totals).unwrap();
    if algorithm.requirements().critic {
        let value_loss = algorithm
            .value_loss(value.as_tensor(), exp, totals)
            .unwrap();
        out.loss = (out.loss + value_loss.loss).unwrap();
        // the loop merges the metrics of both losses
        let clash = value_loss
            .metrics
            .keys()
            .find(|key| out.metrics.contains_key(*key));
        assert_eq!(clash, None, "a metric of both losses");
        out.metrics.extend(value_loss.metrics);
    }
    let grads = out.loss.backward().unwrap();
    let gradient = |var: &Var| grads.get(var).map_or(vec![0.0; var.elem_count()], values);
    Found {
        loss: values(&out.loss)[0],
        d_logp: gradient(&logp),
        d_values: gradient(&value),
        metrics: out.metrics,
    }
}

/// A batch of the golden program.
pub fn golden_batch(batch: &Value) -> (Experience, Now) {
    let column = |name: &str| {
        numbers(&batch[name])
            .iter()
            .map(|v| *v as f32)
            .collect::<Vec<f32>>()
    };
    let whole = |name: &str| {
        batch[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap())
            .collect::<Vec<u64>>()
    };
    let exp = Experience {
        lens: whole("lens").into_iter().map(|l| l as usize).collect(),
        prompt_key: whole("keys"),
        finished: batch["finished"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f.as_bool().unwrap())
            .collect(),
        score: column("score"),
        logp_old: column("logp_old"),
        logp_ref: column("logp_ref"),
        entropy: column("entropy"),
        values: column("values"),
        ..Experience::default()
    };
    let now = ["logp", "entropy", "new_values"].map(|name| numbers(&batch[name]));
    let [logp, entropy, values] = now;
    (
        exp,
        Now {
            logp,
            entropy,
            values,
        },
    )
}
