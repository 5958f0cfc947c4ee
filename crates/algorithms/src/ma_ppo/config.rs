//! MA-PPO's settings: PPO's keys, and those of macro actions.

use crate::checks::{at_least, ensure};
use crate::error::Result;
use crate::estimators::macros::{RewardSum, ValueWeights};
use crate::ppo;
use crate::settings::{self, MethodConfig, Unused, unused_where};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    #[serde(flatten)]
    pub ppo: ppo::Config,
    #[serde(flatten)]
    pub macros: MacroConfig,
}

/// How a response is cut into macro actions, and how they are rewarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MacroConfig {
    /// Where a macro action ends
    pub termination: Termination,
    /// Tokens of a macro, with `ngram`
    pub ngram: usize,
    /// Lengths to choose from, with `random`
    pub lengths: Vec<usize>,
    /// How often each length occurs in the shuffled list
    pub length_repeats: usize,
    /// With `perplexity`: cut one token earlier, as in the authors' code
    pub perplexity_early: bool,
    /// The last token is a macro of its own, as in the authors' code
    pub last_alone: bool,
    /// `equal`, `last`, `position`
    pub value_weights: ValueWeights,
    /// A macro's reward: `sum` or `mean` of its tokens' rewards
    pub reward_sum: RewardSum,
    /// The clipped ratio is of each `token`, of the whole `macro` (Eq. 3), or `macro_mean`: the
    /// macro's, to the power of 1 / its length
    pub ratio: Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Termination {
    /// Every `ngram` tokens
    Ngram,
    /// A fresh shuffle of `lengths` for each response
    Random,
    /// Where the reference's perplexity rises
    Perplexity,
    /// At clauses
    Parsing,
    /// Never: the whole response is one macro
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ratio {
    Token,
    Macro,
    MacroMean,
}

impl Default for MacroConfig {
    fn default() -> Self {
        Self {
            termination: Termination::Ngram,
            ngram: 5,
            lengths: vec![2, 3, 5, 10],
            length_repeats: 3,
            perplexity_early: false,
            last_alone: false,
            value_weights: ValueWeights::Equal,
            reward_sum: RewardSum::Sum,
            ratio: Ratio::Token,
        }
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        ppo::Config::read(table)?;
        settings::read::<MacroConfig>(table)?;
        settings::read(table)
    }

    fn check(&self) -> Result<()> {
        let c = &self.macros;
        at_least("ngram", c.ngram, 1)?;
        let ok = !c.lengths.is_empty() && !c.lengths.contains(&0);
        let expected = "at least one number, each 1 or more";
        ensure(ok, "lengths", json!(c.lengths), expected)?;
        at_least("length_repeats", c.length_repeats, 1)?;
        self.ppo.check()
    }

    fn unused(&self) -> Unused {
        let is = |termination| self.macros.termination == termination;
        let mut unused = self.ppo.unused();
        let why = "termination is another one";
        unused.extend(unused_where(&[
            (!is(Termination::Ngram), &["ngram"], why),
            (
                !is(Termination::Random),
                &["lengths", "length_repeats"],
                why,
            ),
            (!is(Termination::Perplexity), &["perplexity_early"], why),
        ]));
        unused
    }
}
