//! The methods by name. Contract tests run over this table.

use crate::{
    Algorithm, Error, Result, a_lol, dpo, esrl, gold, grpo, ma_ppo, mrt, ppo, reinforce, rest,
    rloo, rwr,
};
use serde_json::Value;

/// Methods of one family share their functions, which are told the name.
pub struct Entry {
    pub name: &'static str,
    /// docs/methods/`page`.md
    pub page: &'static str,
    pub about: &'static str,
    pub paper: &'static str,
    /// From the `[algorithm]` table without `name`; `seed` keys the method's random streams.
    pub build: fn(name: &str, config: &Value, seed: u64) -> Result<Box<dyn Algorithm>>,
    /// The settings when none are given: every key.
    pub defaults: fn(name: &str) -> Value,
    /// The settings with the given ones over the defaults: every key.
    pub resolve: fn(name: &str, config: &Value) -> Result<Value>,
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "esrl",
        page: "esrl",
        about: "efficient sampling: k and temperature by the prompt's difficulty, MRT or REINFORCE",
        paper: "Wang et al. 2024, arXiv 2308.02223",
        build: esrl::build,
        defaults: esrl::defaults,
        resolve: esrl::resolve,
    },
    Entry {
        name: "grpo",
        page: "grpo",
        about: "clipped policy gradient against the prompt's other samples, KL in the loss, no critic",
        paper: "Shao et al. 2024, arXiv 2402.03300",
        build: grpo::build,
        defaults: grpo::defaults,
        resolve: grpo::resolve,
    },
    Entry {
        name: "ma_ppo",
        page: "ma_ppo",
        about: "PPO whose actions are runs of tokens",
        paper: "Chai et al. 2025, arXiv 2410.02743",
        build: ma_ppo::build,
        defaults: ma_ppo::defaults,
        resolve: ma_ppo::resolve,
    },
    Entry {
        name: "mrt",
        page: "mrt",
        about: "minimum risk over a few samples of each prompt",
        paper: "Shen et al. 2016, arXiv 1512.02433",
        build: mrt::build,
        defaults: mrt::defaults,
        resolve: mrt::resolve,
    },
    Entry {
        name: "ppo",
        page: "ppo",
        about: "clipped policy gradient with a critic and a KL penalty in the reward",
        paper: "Schulman et al. 2017, Ziegler et al. 2019, arXiv 1707.06347, 1909.08593",
        build: ppo::build,
        defaults: ppo::defaults,
        resolve: ppo::resolve,
    },
    Entry {
        name: "reinforce",
        page: "reinforce",
        about: "policy gradient of whole responses with a baseline",
        paper: "Williams 1992; Kiegeland & Kreutzer 2021, arXiv 2106.08942",
        build: reinforce::build,
        defaults: reinforce::defaults,
        resolve: reinforce::resolve,
    },
    Entry {
        name: "rloo",
        page: "rloo",
        about: "REINFORCE with the mean of the prompt's other samples as baseline, no critic",
        paper: "Ahmadian et al. 2024, arXiv 2402.14740",
        build: rloo::build,
        defaults: rloo::defaults,
        resolve: rloo::resolve,
    },
    Entry {
        name: "gold_p",
        page: "gold",
        about: "off-policy policy gradient on demonstrations, rewarded by the log-probability of the MLE model",
        paper: "Pang and He 2021, arXiv 2009.07839",
        build: gold::build,
        defaults: gold::defaults,
        resolve: gold::resolve,
    },
    Entry {
        name: "gold_s",
        page: "gold",
        about: "the same, rewarded by the probability of the MLE model",
        paper: "Pang and He 2021, arXiv 2009.07839",
        build: gold::build,
        defaults: gold::defaults,
        resolve: gold::resolve,
    },
    Entry {
        name: "a_lol",
        page: "a_lol",
        about: "offline: demonstrations weighed by advantage over the reference and a clipped importance weight",
        paper: "Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "a_lol_seq",
        page: "a_lol",
        about: "A-LoL with an importance weight per token",
        paper: "Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "a_lol_ref_free",
        page: "a_lol",
        about: "A-LoL without importance weight",
        paper: "Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "a_lol_kl",
        page: "a_lol",
        about: "A-LoL with a penalty on the log-ratio to the reference instead",
        paper: "Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "r_lol",
        page: "a_lol",
        about: "A-LoL with the reward in place of the advantage",
        paper: "Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "wbc",
        page: "a_lol",
        about: "weighted behaviour cloning: demonstrations weighed by reward",
        paper: "Wang et al. 2020, arXiv 2006.15134; as in Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "r_gold",
        page: "a_lol",
        about: "GOLD with the reward of the whole response",
        paper: "as in Baheti et al. 2024, arXiv 2305.14718",
        build: a_lol::build,
        defaults: a_lol::defaults,
        resolve: a_lol::resolve,
    },
    Entry {
        name: "rwr",
        page: "rwr",
        about: "reward-weighted regression: weights exp(reward / beta)",
        paper: "Peters and Schaal 2007; Hu et al. 2023, arXiv 2308.12050",
        build: rwr::build,
        defaults: rwr::defaults,
        resolve: rwr::resolve,
    },
    Entry {
        name: "rest",
        page: "rest",
        about: "grow a pool of samples, improve by imitating those above rising thresholds",
        paper: "Gulcehre et al. 2023, arXiv 2308.08998",
        build: rest::build,
        defaults: rest::defaults,
        resolve: rest::resolve,
    },
    Entry {
        name: "dpo",
        page: "dpo",
        about: "preference pairs as a classification loss; cDPO and IPO as options",
        paper: "Rafailov et al. 2023, arXiv 2305.18290",
        build: dpo::build,
        defaults: dpo::defaults,
        resolve: dpo::resolve,
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
    (entry(name)?.build)(name, config, seed)
}

/// Every setting that `config` amounts to; resolving it again gives the same.
pub fn resolve(name: &str, config: &Value) -> Result<Value> {
    (entry(name)?.resolve)(name, config)
}

fn entry(name: &str) -> Result<&'static Entry> {
    let found = ENTRIES.iter().find(|entry| entry.name == name);
    found.ok_or_else(|| {
        let near = run::nearest(name, &names()).unwrap_or_default();
        Error::Input(format!(
            "algorithm.name = {name:?} is not known; did you mean {near:?}? It is one of {}",
            names().join(", ")
        ))
    })
}
