//! MA-PPO: PPO whose actions are runs of tokens (MA-RLHF, Chai et al., ICLR 2025, arXiv 2410.02743). The machinery is PPO's
//! (`ppo`); this module says where macros begin. Choices are numbered in docs/methods/ma_ppo.md.

mod config;

pub use config::{MacroConfig, Ratio, Termination};

use crate::estimators::macros;
use crate::metrics::Definitions;
use crate::ppo::Ppo;
use crate::{Algorithm, Experience, Result};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

pub(crate) const METRICS: Definitions = &[
    ("macro/length_mean", "mean tokens of a macro action"),
    ("macro/per_response", "mean macro actions of a response"),
];

pub(crate) fn build(_name: &str, given: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
    let (ppo, config) = config::parts(given)?;
    Ok(Box::new(Ppo::of_macros(ppo, Macros { config, seed })?))
}

pub(crate) fn defaults(_name: &str) -> Value {
    let ppo = json!(crate::ppo::Config::default());
    config::joined(&ppo, &json!(MacroConfig::default()))
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    let (ppo, own) = config::parts(given)?;
    Ok(config::joined(&json!(ppo), &json!(own)))
}

pub(crate) struct Macros {
    pub config: MacroConfig,
    seed: u64,
}

impl Macros {
    /// Which tokens begin a macro, `[M]`; the first of each row does.
    pub fn starts(&self, exp: &Experience) -> Result<Vec<bool>> {
        let c = &self.config;
        if c.termination == Termination::Parsing && exp.macro_start.len() != exp.n_tokens() {
            return Err(crate::Error::Input(format!(
                "rollouts: column macro_start has {} values, expected {}",
                exp.macro_start.len(),
                exp.n_tokens()
            )));
        }
        let mut all = Vec::with_capacity(exp.n_tokens());
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let n = tokens.len();
            let mut starts = match c.termination {
                Termination::Ngram => macros::cut(n, (0..n).map(|_| c.ngram)),
                Termination::Random => macros::cut(n, self.lengths(exp, row)),
                Termination::Perplexity => {
                    macros::by_perplexity(&exp.logp_ref[tokens], c.perplexity_early)
                }
                Termination::Parsing => exp.macro_start[tokens].to_vec(),
                Termination::Whole => vec![false; n],
            };
            if let Some(first) = starts.first_mut() {
                *first = true;
            }
            if let Some(last) = starts.last_mut().filter(|_| c.last_alone) {
                *last = true;
            }
            all.extend(starts);
        }
        Ok(all)
    }

    /// Every length so many times, in an order that the response and the seed decide.
    fn lengths(&self, exp: &Experience, row: usize) -> Vec<usize> {
        let c = &self.config;
        let mut lengths: Vec<usize> = (0..c.length_repeats)
            .flat_map(|_| c.lengths.clone())
            .collect();
        let (prompt, response) = (exp.prompt_key[row], exp.response_key[row]);
        let mut rng = run::stream(self.seed, "macro lengths", prompt, response);
        lengths.shuffle(&mut rng);
        lengths
    }
}
