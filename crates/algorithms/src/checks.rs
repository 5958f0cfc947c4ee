//! Checks of single settings. Each error names the key, the value and the range.

use crate::error::{Error, Result};
use std::fmt::Display;

/// An error unless `ok`. `key` is the key below `[algorithm]`, dotted where it is in a table.
pub(crate) fn ensure(ok: bool, key: &str, value: impl Display, expected: &str) -> Result<()> {
    match ok {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "algorithm.{key} = {value}, expected {expected}"
        ))),
    }
}

/// Finite and ≥ 0.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<()> {
    let ok = value >= 0.0 && value.is_finite();
    ensure(ok, key, value, "a number, 0 or more")
}

/// Finite and > 0.
pub(crate) fn positive(key: &str, value: f64) -> Result<()> {
    let ok = value > 0.0 && value.is_finite();
    ensure(ok, key, value, "a number above 0")
}

/// In [0, 1].
pub(crate) fn fraction(key: &str, value: f64) -> Result<()> {
    let ok = (0.0..=1.0).contains(&value);
    ensure(ok, key, value, "a number from 0 to 1")
}

/// In [0, 1).
pub(crate) fn fraction_below_one(key: &str, value: f64) -> Result<()> {
    let ok = (0.0..1.0).contains(&value);
    ensure(ok, key, value, "a number from 0 to below 1")
}

/// In (0, 1).
pub(crate) fn between_zero_and_one(key: &str, value: f64) -> Result<()> {
    let ok = value > 0.0 && value < 1.0;
    ensure(ok, key, value, "a number between 0 and 1")
}

/// ≥ `least`.
pub(crate) fn at_least(key: &str, value: usize, least: usize) -> Result<()> {
    ensure(value >= least, key, value, &format!("{least} or more"))
}
