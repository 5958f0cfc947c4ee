//! MA-PPO's settings: PPO's keys and these.

use crate::estimators::macros::{RewardSum, ValueWeights};
use crate::settings::{at_least, ensure, known_keys, resolve};
use crate::{Result, ppo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MacroConfig {
    /// Where a macro action ends
    pub termination: Termination,
    /// Tokens of a macro, with `ngram`
    pub ngram: usize,
    /// Lengths drawn from, with `random`
    pub lengths: Vec<usize>,
    /// How often each of them is in the draw
    pub length_repeats: usize,
    /// With `perplexity`: cut one token earlier, as in the authors' code
    pub perplexity_early: bool,
    /// The last token is a macro of its own, as in the authors' code
    pub last_alone: bool,
    /// `equal`, `last`, `position`
    pub value_weights: ValueWeights,
    /// A macro's reward: `sum` or `mean` of its tokens'
    pub reward_sum: RewardSum,
    /// The clipped ratio is of each `token`, of the whole `macro` (Eq. 3), or its root by its length, `macro_mean`
    pub ratio: Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Termination {
    /// Every `ngram` tokens
    Ngram,
    /// Lengths drawn anew for each response
    Random,
    /// Where the reference's perplexity rises
    Perplexity,
    /// At clauses
    Parsing,
    /// Never: the response is one macro
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

/// Both parts of a table, defaults filled in.
pub(crate) fn parts(given: &Value) -> Result<(ppo::Config, MacroConfig)> {
    let (ppo, own) = (json!(ppo::Config::default()), json!(MacroConfig::default()));
    known_keys(&joined(&ppo, &own), given)?;
    let is_own = |key: &str| own.get(key).is_some();
    let part = |wanted: bool| match given {
        Value::Object(given) => {
            let keys = given.iter().filter(|(key, _)| is_own(key) == wanted);
            let keys = keys.map(|(key, value)| (key.clone(), value.clone()));
            Value::Object(keys.collect())
        }
        other => other.clone(),
    };
    let config: MacroConfig = resolve(&MacroConfig::default(), &part(true))?;
    config.check()?;
    Ok((ppo::Config::resolve(&part(false))?, config))
}

/// One table of both.
pub(crate) fn joined(ppo: &Value, own: &Value) -> Value {
    let entries = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let all: Map<String, Value> = entries(ppo).into_iter().chain(entries(own)).collect();
    Value::Object(all)
}

impl MacroConfig {
    fn check(&self) -> Result<()> {
        at_least("ngram", self.ngram, 1)?;
        let ok = !self.lengths.is_empty() && !self.lengths.contains(&0);
        let expected = "at least one number, each 1 or more";
        ensure(ok, "lengths", json!(self.lengths), expected)?;
        at_least("length_repeats", self.length_repeats, 1)
    }
}
