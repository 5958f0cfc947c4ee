//! DPO, GOLD, the A-LoL family, RWR and ReST against their papers and an independent program
//! (scripts/golden/offline.py, whose DPO is TRL's too).
//!
//! Gradients are checked in f64; weights that `prepare` writes are f32.

mod a_lol;
mod dpo;
mod gold;
mod golden;
mod rest;
mod rwr;

use crate::algorithms::support::{Found, Now, loss, numbers, wide};
use algorithms::{Algorithm, Experience, PoolColumns, build};
use serde_json::{Value, json};
use testkit::{assert_close_slices, golden_json};

fn method(name: &str, config: Value) -> Box<dyn Algorithm> {
    build(name, &config, 0).unwrap()
}

fn f32s(value: &Value) -> Vec<f32> {
    numbers(value).iter().map(|v| *v as f32).collect()
}

/// Stored rows of the golden program, and the policy's log-probabilities.
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
