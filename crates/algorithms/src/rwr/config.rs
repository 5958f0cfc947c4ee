//! RWR's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{not_negative, positive};
use crate::error::Result;
use crate::settings::MethodConfig;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Temperature of the weights: exp(reward / beta)
    pub beta: f64,
    /// Rewards to mean 0, variance 1 over all responses first
    pub standardise: bool,
    /// Weights are clipped to this; 0 = off
    pub weight_max: f64,
    /// Weights are divided by their sum over `all` responses, by their sum over the `prompt`'s, or
    /// by the number of responses (`none`)
    pub normalise: Normalise,
    /// Responses that the policy samples per prompt; 0 = learn from the answers of the data set
    pub samples: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    All,
    Prompt,
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 1.0,
            standardise: true,
            weight_max: 20.0,
            normalise: Normalise::All,
            samples: 0,
        }
    }
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        positive("beta", self.beta)?;
        not_negative("weight_max", self.weight_max)
    }
}
