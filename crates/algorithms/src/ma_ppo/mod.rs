//! MA-PPO: PPO whose actions are runs of tokens (MA-RLHF, Chai et al., ICLR 2025, arXiv
//! 2410.02743).
//!
//! Rewards, losses and metrics are PPO's (`ppo`). Choices are numbered in docs/methods/ma_ppo.md.

mod config;

pub use config::{Config, MacroConfig, Ratio, Termination};

use crate::algorithm::Algorithm;
use crate::columns::{column, row_sums};
use crate::error::{Error, Result};
use crate::estimators::macros::{self, lens};
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics};
use crate::ppo::{Actions, Ppo};
use crate::requirements::Requirements;
use candle_core::{Result as CResult, Tensor};
use ops::Ragged;
use rand::seq::SliceRandom;
use serde_json::Value;

impl Method for MaPpo {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "ma_ppo",
        about: "PPO whose actions are runs of tokens",
        paper: "Chai et al. 2025, arXiv 2410.02743",
    }];
    const PAGE: &'static str = "ma_ppo";
    const METRICS: Definitions = &[
        ("macro/length_mean", "mean tokens of a macro action"),
        ("macro/per_response", "mean macro actions of a response"),
    ];

    fn build(_name: &str, config: Config, seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self {
            ppo: Ppo::new(config.ppo),
            config: config.macros,
            seed,
        })
    }
}

/// PPO over macro actions.
pub struct MaPpo {
    ppo: Ppo,
    config: MacroConfig,
    seed: u64,
}

impl MaPpo {
    /// The tokens that begin a macro, `[M]`; the first token of each row always does.
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

    /// Every length `length_repeats` times, in an order that depends on the response and the seed.
    fn random_lengths(&self, exp: &Experience, row: usize) -> Vec<usize> {
        let mut lengths = self.config.lengths.repeat(self.config.length_repeats);
        let (prompt, response) = (exp.prompt_key[row], exp.response_key[row]);
        let mut rng = run::stream(self.seed, "macro lengths", prompt, response);
        lengths.shuffle(&mut rng);
        lengths
    }
}

impl Algorithm for MaPpo {
    fn requirements(&self) -> Requirements {
        Requirements {
            clauses: self.config.termination == Termination::Parsing,
            ..self.ppo.requirements()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[("logp_ref", &exp.logp_ref)], &[])?;
        if self.requirements().clauses && exp.macro_start.len() != exp.n_tokens() {
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
        let (exp, mut metrics) = self.ppo.prepare_with(exp, &|tokens, rewards, values| {
            smdp.gae(rewards, values, &lens(&starts[tokens]))
        })?;
        let n = Totals::of(&exp);
        let mean = |sum: usize, over: usize| sum as f64 / over.max(1) as f64;
        metrics.insert("macro/length_mean".into(), mean(n.tokens, n.macros));
        metrics.insert("macro/per_response".into(), mean(n.macros, n.rows));
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        let tokens = Actions::tokens(now, exp, totals)?;
        if self.config.ratio == Ratio::Token {
            return self.ppo.loss_of_actions(&tokens, now, totals);
        }
        let macros = Ragged::from_lens(&lens(&exp.macro_start));
        let mut log_ratio = row_sums(&tokens.log_ratio, &macros)?; // [macros]
        if self.config.ratio == Ratio::MacroMean {
            let lens: Vec<f32> = macros.lens().iter().map(|n| *n as f32).collect();
            log_ratio = (&log_ratio / column(&lens, &log_ratio)?)?;
        }
        // all tokens of a macro have its advantage
        let advantages: Vec<f32> = macros.ranges().map(|t| exp.advantages[t.start]).collect();
        let actions = Actions {
            log_ratio,
            advantages: &advantages,
            n: totals.macros as f64,
        };
        self.ppo.loss_of_actions(&actions, now, totals)
    }

    /// The critic is trained per token, as in PPO.
    fn value_loss(&self, values: &Tensor, exp: &Experience, totals: Totals) -> CResult<Loss> {
        self.ppo.value_loss(values, exp, totals)
    }

    fn state(&self) -> Value {
        self.ppo.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.ppo.restore(state)
    }
}
