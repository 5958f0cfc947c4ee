//! DPO's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{ensure, positive};
use crate::error::Result;
use crate::settings::MethodConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Weight of the implied KL to the reference
    pub beta: f64,
    /// `sigmoid` (DPO) or `ipo`
    pub loss: Kind,
    /// Assumed share of wrongly labelled pairs (cDPO); `sigmoid` only
    pub label_smoothing: f64,
    /// Treat the reference as uniform: its log-ratio is 0
    pub reference_free: bool,
    /// Log-probabilities per token instead of per response
    pub length_average: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Sigmoid,
    Ipo,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 0.1,
            loss: Kind::Sigmoid,
            label_smoothing: 0.0,
            reference_free: false,
            length_average: false,
        }
    }
}

impl Config {
    /// IPO uses log-probabilities per token unless the user decides otherwise.
    pub(super) fn defaults(given: &Value) -> Self {
        Self {
            length_average: given["loss"] == "ipo",
            ..Self::default()
        }
    }
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        positive("beta", self.beta)?;
        let smoothing = self.label_smoothing;
        ensure(
            (0.0..0.5).contains(&smoothing),
            "label_smoothing",
            smoothing,
            "a number from 0 to below 0.5",
        )?;
        ensure(
            self.loss == Kind::Sigmoid || smoothing == 0.0,
            "label_smoothing",
            smoothing,
            "0 where loss = \"ipo\"",
        )
    }
}
