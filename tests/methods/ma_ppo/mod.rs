//! MA-PPO: terminations, advantages of macro actions, losses, settings.

mod advantages;
mod losses;
mod settings;
mod termination;

use crate::algorithms::support::*;
use algorithms::ma_ppo::Termination;
use algorithms::{Algorithm, Experience, build};
use serde_json::Value;

const TERMINATIONS: [Termination; 5] = [
    Termination::Ngram,
    Termination::Random,
    Termination::Perplexity,
    Termination::Parsing,
    Termination::Whole,
];

fn ma_ppo(config: Value) -> Box<dyn Algorithm> {
    build("ma_ppo", &config, 3).unwrap()
}

/// Two responses of 24 tokens.
fn long_responses() -> Experience {
    let exp = experience(&[1], &[20], 2);
    let first = |column: &[f32]| column[..48].to_vec();
    Experience {
        lens: vec![24; 2],
        prompt_key: vec![1; 2],
        response_key: vec![5, 6],
        finished: vec![true; 2],
        score: exp.score[..2].to_vec(),
        logp_old: first(&exp.logp_old),
        logp_ref: first(&exp.logp_ref),
        values: first(&exp.values),
        ..Experience::default()
    }
}
