//! ReST's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, ensure, positive};
use crate::error::{Error, Result};
use crate::gold;
use crate::settings::MethodConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Responses sampled per prompt at each Grow (N_g)
    pub samples: usize,
    /// Their temperature
    pub temperature: f64,
    /// Optimiser steps of one Improve
    pub improve_steps: u64,
    /// What `thresholds` are: `absolute` scores, a `percentile` of the prompt's scores, or a point
    /// `between` the prompt's mean (0) and best (1)
    pub filter: Filter,
    /// τ of each Improve after a Grow: as many as there are Improves
    pub thresholds: Vec<f64>,
    /// The answers of the data set join the pool, and are filtered too
    pub keep_data: bool,
    /// A prompt's equal responses count once
    pub deduplicate: bool,
    /// When nothing passes the filter, learn from each prompt's best instead of stopping
    pub fallback: bool,
    /// The learning rate is multiplied by this at each Improve after a Grow
    pub lr_decay: f64,
    /// `nll` or `gold`
    pub loss: Inner,
    /// The keys of gold_s, with `loss = "gold"`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gold: Option<gold::Config>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Absolute,
    Percentile,
    Between,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inner {
    Nll,
    Gold,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 4,
            temperature: 0.8,
            improve_steps: 20,
            filter: Filter::Absolute,
            thresholds: vec![0.0, 0.7, 0.8, 0.9],
            keep_data: true,
            deduplicate: false,
            fallback: false,
            lr_decay: 0.5,
            loss: Inner::Nll,
            gold: None,
        }
    }
}

impl Config {
    /// `loss = "gold"` adds the table of GOLD's keys.
    pub(super) fn defaults(given: &Value) -> Result<Self> {
        let is_gold = given["loss"] == "gold";
        if !is_gold && !given["gold"].is_null() {
            return Err(Error::Input(
                "algorithm.gold needs algorithm.loss = \"gold\"".into(),
            ));
        }
        let gold = gold::Config {
            suffix: 5, // the paper's five-step unroll
            ..gold::Config::default()
        };
        Ok(Self {
            gold: is_gold.then_some(gold),
            ..Self::default()
        })
    }
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        at_least("samples", self.samples, 1)?;
        positive("temperature", self.temperature)?;
        ensure(
            self.improve_steps > 0,
            "improve_steps",
            self.improve_steps,
            "1 or more",
        )?;
        ensure(
            self.lr_decay > 0.0 && self.lr_decay <= 1.0,
            "lr_decay",
            self.lr_decay,
            "a number above 0, 1 at most",
        )?;
        self.check_thresholds()?;
        match &self.gold {
            Some(gold) => gold.check(),
            None => Ok(()),
        }
    }
}

impl Config {
    fn check_thresholds(&self) -> Result<()> {
        let list = format!("{:?}", self.thresholds);
        let most = match self.filter {
            Filter::Percentile => 100.0,
            _ => 1.0,
        };
        let in_range = self.thresholds.iter().all(|t| (0.0..=most).contains(t));
        if self.thresholds.is_empty() || !in_range {
            return Err(Error::Input(format!(
                "algorithm.thresholds = {list}, expected at least one number, each from 0 to {most}"
            )));
        }
        ensure(
            self.thresholds.is_sorted(),
            "thresholds",
            list,
            "numbers that never fall: each Improve is stricter than the one before",
        )
    }
}
