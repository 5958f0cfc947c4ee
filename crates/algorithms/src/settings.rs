//! A method's `[algorithm]` table into its settings: defaults, with the user's keys laid over them.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// `defaults` with the keys of `given` over them, table by table. An unknown key names the nearest known one.
pub(crate) fn resolve<T: Serialize + DeserializeOwned>(defaults: &T, given: &Value) -> Result<T> {
    let mut settings = serde_json::to_value(defaults).map_err(input)?;
    if !given.is_object() && !given.is_null() {
        return Err(Error::Input(format!(
            "algorithm is {given}, expected a table"
        )));
    }
    lay_over(&mut settings, given);
    let table = toml::Table::try_from(settings).map_err(input)?;
    run::from_table(&table, "algorithm").map_err(|e| Error::Input(format!("{e:#}")))
}

fn lay_over(base: &mut Value, given: &Value) {
    let Value::Object(given) = given else { return };
    for (key, value) in given {
        match base.get_mut(key) {
            Some(inner) if inner.is_object() && value.is_object() => lay_over(inner, value),
            _ => base[key] = value.clone(),
        }
    }
}

/// An error unless `ok`, about the value of one key.
pub(crate) fn ensure(
    ok: bool,
    key: &str,
    value: impl std::fmt::Display,
    expected: &str,
) -> Result<()> {
    match ok {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "algorithm.{key} = {value}, expected {expected}"
        ))),
    }
}

pub(crate) fn not_negative(key: &str, value: f64) -> Result<()> {
    let ok = value >= 0.0 && value.is_finite();
    ensure(ok, key, value, "a number, 0 or more")
}

pub(crate) fn positive(key: &str, value: f64) -> Result<()> {
    let ok = value > 0.0 && value.is_finite();
    ensure(ok, key, value, "a number above 0")
}

pub(crate) fn at_least(key: &str, value: usize, least: usize) -> Result<()> {
    ensure(value >= least, key, value, &format!("{least} or more"))
}

fn input(error: impl std::fmt::Display) -> Error {
    Error::Input(format!("algorithm: {error}"))
}

/// What `restore` says of a state it cannot read.
pub(crate) fn bad_state(name: &str, error: impl std::fmt::Display) -> Error {
    Error::Input(format!(
        "the checkpoint's state of {name} is not readable: {error}"
    ))
}

/// [`resolve`] for a family whose methods share one type: a key that the defaults of this method leave out is unknown to it.
pub(crate) fn own_keys<T: Serialize + DeserializeOwned>(defaults: &T, given: &Value) -> Result<T> {
    known_keys(&serde_json::to_value(defaults).map_err(input)?, given)?;
    resolve(defaults, given)
}

/// Refuses a key of `given` that `defaults` does not have, and names the nearest that it has.
pub(crate) fn known_keys(defaults: &Value, given: &Value) -> Result<()> {
    let (Some(own), Some(given)) = (defaults.as_object(), given.as_object()) else {
        return Ok(());
    };
    let known: Vec<&str> = own.keys().map(String::as_str).collect();
    match given.keys().find(|key| !own.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let near = run::nearest(key, &known).unwrap_or_default();
            Err(Error::Input(format!(
                "unknown key \"algorithm.{key}\"; did you mean \"algorithm.{near}\"?"
            )))
        }
    }
}
