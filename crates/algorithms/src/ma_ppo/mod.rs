//! MA-PPO: PPO whose actions are runs of tokens (MA-RLHF, Chai et al., ICLR 2025, arXiv 2410.02743). Rewards, losses and metrics are
//! PPO's (`ppo`). Choices are numbered in docs/methods/ma_ppo.md.

mod config;

pub use config::{MacroConfig, Ratio, Termination};

use crate::estimators::macros::{self, lens};
use crate::experience::{column, row_sums};
use crate::metrics::{Definitions, Metrics};
use crate::ppo::{Actions, Ppo};
use crate::{Algorithm, Error, Experience, Loss, Needs, Result, SamplingPlan, Scores, Totals};
use candle_core::Result as CResult;
use ops::Ragged;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

pub(crate) const METRICS: Definitions = &[
    ("macro/length_mean", "mean tokens of a macro action"),
    ("macro/per_response", "mean macro actions of a response"),
];

pub(crate) fn build(_name: &str, given: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
    let (ppo, config) = config::parts(given)?;
    let ppo = Ppo::new(ppo, "")?;
    Ok(Box::new(MaPpo { ppo, config, seed }))
}

pub(crate) fn defaults(_name: &str) -> Value {
    let ppo = json!(crate::ppo::Config::default());
    config::joined(&ppo, &json!(MacroConfig::default()))
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    let (ppo, own) = config::parts(given)?;
    Ok(config::joined(&json!(ppo), &json!(own)))
}

pub struct MaPpo {
    ppo: Ppo,
    config: MacroConfig,
    seed: u64,
}

impl MaPpo {
    /// Which tokens begin a macro, `[M]`; the first of each row does.
    fn starts(&self, exp: &Experience) -> Vec<bool> {
        let c = &self.config;
        let mut all = Vec::with_capacity(exp.n_tokens());
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let n = tokens.len();
            let mut starts = match c.termination {
                Termination::Ngram => macros::cut(n, (0..n).map(|_| c.ngram)),
                Termination::Random => macros::cut(n, self.random_lengths(exp, row)),
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
        all
    }

    /// Every length so many times, in an order that the response and the seed decide.
    fn random_lengths(&self, exp: &Experience, row: usize) -> Vec<usize> {
        let mut lengths = self.config.lengths.repeat(self.config.length_repeats);
        let (prompt, response) = (exp.prompt_key[row], exp.response_key[row]);
        let mut rng = run::stream(self.seed, "macro lengths", prompt, response);
        lengths.shuffle(&mut rng);
        lengths
    }
}

impl Algorithm for MaPpo {
    fn needs(&self) -> Needs {
        Needs {
            clauses: self.config.termination == Termination::Parsing,
            ..self.ppo.needs()
        }
    }

    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>> {
        self.ppo.plan(prompts, step)
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[("logp_ref", &exp.logp_ref)], &[])?;
        if self.needs().clauses && exp.macro_start.len() != exp.n_tokens() {
            return Err(Error::Input(format!(
                "rollouts: column macro_start has {} values, expected {}",
                exp.macro_start.len(),
                exp.n_tokens()
            )));
        }
        let starts = self.starts(&exp);
        exp.macro_start = starts.clone();
        let smdp = macros::Smdp {
            weights: self.config.value_weights,
            sum: self.config.reward_sum,
            gamma: self.ppo.config.gamma,
            lam: self.ppo.config.lam,
        };
        let (exp, mut metrics) = self.ppo.prepare_by(exp, &|tokens, rewards, values| {
            smdp.gae(rewards, values, &lens(&starts[tokens]))
        })?;
        let n = Totals::of(&exp);
        let mean = |sum: usize, over: usize| sum as f64 / over.max(1) as f64;
        metrics.insert("macro/length_mean".into(), mean(n.tokens, n.macros));
        metrics.insert("macro/per_response".into(), mean(n.macros, n.rows));
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::nothing(now);
        }
        let tokens = Actions::tokens(now, exp, totals)?;
        if self.config.ratio == Ratio::Token {
            return self.ppo.loss_of(&tokens, now, exp, totals);
        }
        let macros = Ragged::from_lens(&lens(&exp.macro_start));
        let mut log_ratio = row_sums(&tokens.log_ratio, &macros)?; // [macros]
        if self.config.ratio == Ratio::MacroMean {
            let lens: Vec<f32> = macros.lens().iter().map(|n| *n as f32).collect();
            log_ratio = (&log_ratio / column(&lens, &log_ratio)?)?;
        }
        // the tokens of a macro have its advantage
        let advantages: Vec<f32> = macros.ranges().map(|t| exp.advantages[t.start]).collect();
        let actions = Actions {
            log_ratio,
            advantages: &advantages,
            n: totals.macros as f64,
        };
        self.ppo.loss_of(&actions, now, exp, totals)
    }

    fn state(&self) -> Value {
        self.ppo.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.ppo.restore(state)
    }
}
