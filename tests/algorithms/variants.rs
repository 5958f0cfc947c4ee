//! Every method, mode and option with a path of its own, ready to run.

use super::support::{Now, estimate, experience, stored};
use algorithms::{Algorithm, DataSource, Estimate, Experience, build, registry};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every method with its defaults, and each mode and option that has its own code path. A name
/// begins with the method's.
pub fn variants() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = registry()
        .iter()
        .map(|e| (e.name.to_string(), json!({})))
        .collect();
    let more = on_policy().into_iter().chain(others());
    all.extend(more.map(|(name, config)| (name.to_string(), config)));
    all
}

fn on_policy() -> Vec<(&'static str, Value)> {
    vec![
        (
            "ppo adaptive",
            json!({"kl_controller": "adaptive", "kl_horizon": 20, "kl_estimator": "k3"}),
        ),
        (
            "ppo dual clip",
            json!({"dual_clip": 1.5, "value_clip": 0, "score_clip": 1, "whiten_rewards": true}),
        ),
        ("reinforce ema", json!({"baseline": "ema", "samples": 2})),
        ("reinforce fifo", json!({"baseline": "fifo", "fifo": 7})),
        (
            "reinforce batch",
            json!({"baseline": "batch", "kl_coef": 0}),
        ),
        (
            "reinforce others",
            json!({"baseline": "leave_one_out", "samples": 3, "normalise": "rows"}),
        ),
        ("reinforce alone", json!({"baseline": "none"})),
        (
            "mrt paper",
            json!({"scale_by_alpha": false, "length_normalise": false, "kl_coef": 0}),
        ),
        (
            "mrt sharp",
            json!({"alpha": 0.5, "deduplicate": true, "reference_in_samples": true}),
        ),
        (
            "rloo normalised",
            json!({"normalise_advantages": true, "kl_coef": 0}),
        ),
        ("rloo unclipped", json!({"clip": 0, "epochs": 2})),
        (
            "grpo bnpo",
            json!({"aggregation": "bnpo", "scale_rewards": "batch"}),
        ),
        (
            "grpo dapo",
            json!({"aggregation": "dapo", "beta": 0, "clip_high": 0.28}),
        ),
        (
            "grpo dr",
            json!({"aggregation": "dr_grpo", "constant_length": 8, "scale_rewards": "none"}),
        ),
    ]
}

fn others() -> Vec<(&'static str, Value)> {
    vec![
        ("esrl paper", json!({"mode": "paper"})),
        (
            "esrl paper entropy",
            json!({"mode": "paper", "capability": "entropy", "alpha": 0.5}),
        ),
        ("esrl released", json!({"mode": "released"})),
        ("esrl bleu", json!({"capability": "bleu", "alpha": 0.2})),
        (
            "esrl random",
            json!({"capability": "random", "length_normalise": false}),
        ),
        (
            "dpo ipo",
            json!({"loss": "ipo", "beta": 0.5, "length_average": true}),
        ),
        (
            "dpo free",
            json!({"reference_free": true, "label_smoothing": 0.1}),
        ),
        (
            "gold_p drift",
            json!({"drift": true, "gamma": 0.9, "suffix": 3}),
        ),
        ("rwr prompt", json!({"normalise": "prompt", "beta": 0.3})),
        (
            "rwr rollouts",
            json!({"samples": 3, "normalise": "none", "weight_max": 2.0}),
        ),
        (
            "ma_ppo random",
            json!({"termination": "random", "ratio": "macro", "value_weights": "position"}),
        ),
        (
            "ma_ppo perplexity",
            json!({"termination": "perplexity", "ratio": "macro_mean", "reward_sum": "mean", "last_alone": true}),
        ),
        (
            "ma_ppo parsing",
            json!({"termination": "parsing", "value_weights": "last", "gamma": 0.9}),
        ),
        ("rest gold", json!({"loss": "gold"})),
    ]
}

/// All variants with a prepared experience and a policy that has changed a little.
pub fn prepared() -> Vec<(String, Box<dyn Algorithm>, Experience, Now)> {
    let ready = |(name, config): (String, Value)| {
        let mut algorithm = build(name.split(' ').next().unwrap(), &config, 1).unwrap();
        let (exp, _) = prepare(algorithm.as_mut(), 1);
        let now = Now::near(&exp, 2);
        (name, algorithm, exp, now)
    };
    variants().into_iter().map(ready).collect()
}

/// One step up to `prepare`, five prompts.
pub fn prepare(algorithm: &mut dyn Algorithm, seed: u64) -> (Experience, BTreeMap<String, f64>) {
    let keys = [1, 2, 3, 4, u64::MAX];
    let estimates: Vec<Estimate> = algorithm
        .prompts_to_estimate(&keys)
        .iter()
        .map(|k| estimate(*k, (k % 7) as f32 * 0.2))
        .collect();
    algorithm.observe(&estimates);
    let plan = algorithm.plan(&keys, seed).unwrap();
    assert_eq!(plan.len(), keys.len());
    let exp = match algorithm.requirements().source {
        DataSource::Rollouts if algorithm.requirements().critic => experience(&keys, &[1; 5], seed),
        DataSource::Rollouts => experience(&keys, &[3, 1, 2, 4, 1], seed),
        DataSource::Pool(_) => stored(experience(&keys, &[3, 1, 2, 4, 1], seed), seed),
        DataSource::Pairs => stored(experience(&keys, &[2; 5], seed), seed),
    };
    algorithm.prepare(exp).unwrap()
}
