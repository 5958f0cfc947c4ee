//! Reward-weighted regression.

use super::*;
use crate::algorithms::tabular::*;
use algorithms::{Scores, Totals};
use candle_core::{Device, Tensor};

#[test]
fn rwr_ranges_from_imitation_to_best_of_k() {
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

/// Stored responses are weighted once, over the whole pool. The other rows of a step do not matter.
#[test]
fn rwr_weights_depend_on_the_whole_pool() {
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
    // rewards equal up to rounding have equal weights
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
fn the_rwr_minimiser_is_the_data_times_exp_reward() {
    // answers with the frequencies μ: 1, 2, 3, 2 and 1
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
