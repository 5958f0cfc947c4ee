//! The rule `length`: 1 where the number of tokens or words is within the bounds, falling linearly
//! on both sides.
//!
//! With n tokens (words) and the bounds `min` and `max`:
//! ```text
//! n < min          n / min
//! min <= n <= max  1
//! n > max          max(0, 2 - n / max)
//! ```
//! A bound that is not given does not count; `target` is both bounds.

use crate::Item;
use serde::{Deserialize, Serialize};

/// Keys of kind `length`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Length {
    pub unit: Unit,
    pub target: Option<usize>,
    pub min: Option<usize>,
    pub max: Option<usize>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// EOS included
    #[default]
    Tokens,
    /// Separated by white space
    Words,
}

impl Length {
    pub(crate) fn check(&self) -> Result<(), String> {
        let bounds = [self.target, self.min, self.max];
        if bounds == [None; 3] {
            return Err("needs target, min or max".into());
        }
        if self.target.is_some() && (self.min.is_some() || self.max.is_some()) {
            return Err("has target and min or max; target is both bounds".into());
        }
        if bounds.contains(&Some(0)) {
            return Err("has a bound of 0; it must be 1 or more".into());
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => {
                Err(format!("has min = {min} above max = {max}"))
            }
            _ => Ok(()),
        }
    }

    /// The score, 0..1.
    pub fn score(&self, item: &Item) -> f64 {
        let n = match self.unit {
            Unit::Tokens => item.n_response_tokens,
            Unit::Words => item.response.split_whitespace().count(),
        } as f64;
        let of = |bound: usize| n / bound as f64;
        let below = self.target.or(self.min).map_or(1.0, |min| of(min).min(1.0));
        let above = self
            .target
            .or(self.max)
            .map_or(1.0, |max| (2.0 - of(max)).clamp(0.0, 1.0));
        below.min(above)
    }
}
