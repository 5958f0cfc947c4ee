//! The methods by name. Contract tests run over this table.

use crate::{Algorithm, Error, Result, esrl, ppo};
use serde_json::Value;

pub struct Entry {
    pub name: &'static str,
    pub about: &'static str,
    pub paper: &'static str,
    /// From the `[algorithm]` table without `name`; `seed` keys the method's random streams.
    pub build: fn(config: &Value, seed: u64) -> Result<Box<dyn Algorithm>>,
    /// The settings when none are given: every key.
    pub defaults: fn() -> Value,
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "esrl",
        about: "efficient sampling: k and temperature by the prompt's difficulty, MRT or REINFORCE",
        paper: "Wang et al. 2024, arXiv 2308.02223",
        build: esrl::build,
        defaults: esrl::defaults,
    },
    Entry {
        name: "ppo",
        about: "clipped policy gradient with a critic and a KL penalty in the reward",
        paper: "Schulman et al. 2017, Ziegler et al. 2019, arXiv 1707.06347, 1909.08593",
        build: ppo::build,
        defaults: ppo::defaults,
    },
];

pub fn registry() -> &'static [Entry] {
    ENTRIES
}

pub fn names() -> Vec<&'static str> {
    ENTRIES.iter().map(|entry| entry.name).collect()
}

/// The algorithm of that name with its own settings checked.
pub fn build(name: &str, config: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
    match ENTRIES.iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.build)(config, seed),
        None => Err(Error::Input(format!(
            "algorithm.name = {name:?} is not known; it is one of {}",
            names().join(", ")
        ))),
    }
}
