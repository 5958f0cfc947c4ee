//! From a user's `[algorithm]` table to a method's settings.

use crate::error::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The `[algorithm]` table of a method, without `name`.
///
/// Derive serde's traits with `#[serde(default, deny_unknown_fields)]`. Keys that several methods
/// share are a struct of `shared_config` under `#[serde(flatten)]`, and then without
/// `deny_unknown_fields`, which serde does not combine with it: unknown keys are refused before.
pub trait MethodConfig: Serialize + DeserializeOwned + Default {
    /// Reads a table that holds every key.
    ///
    /// serde forgets the name of a key that reaches a flattened struct. A config with flattened
    /// parts therefore reads each part by itself first, so that a wrong type is reported with its
    /// key.
    fn read(table: &toml::Table) -> Result<Self> {
        read(table)
    }

    /// An error that names the key and the range, when a value cannot work.
    fn check(&self) -> Result<()>;

    /// The keys that the method never reads under the other settings, each with why:
    /// `("kl_target", "kl_controller is \"fixed\"")`.
    fn unused(&self) -> Unused {
        Unused::new()
    }
}

/// Keys that are never read, and why.
pub type Unused = Vec<(String, String)>;

/// The part of `all` whose condition holds.
pub(crate) fn unused_where(all: &[(bool, &[&str], &str)]) -> Unused {
    let holds = all.iter().filter(|(holds, _, _)| *holds);
    let keys =
        holds.flat_map(|(_, keys, why)| keys.iter().map(|key| (key.to_string(), why.to_string())));
    keys.collect()
}

/// `defaults` overridden by the keys of `given`, table by table. Not checked.
///
/// An unknown key is an error that names the nearest known one.
pub(crate) fn resolve<C: MethodConfig>(defaults: &C, given: &Value) -> Result<C> {
    let mut settings = serde_json::to_value(defaults).map_err(input)?;
    if !given.is_object() && !given.is_null() {
        return Err(Error::Input(format!(
            "algorithm is {given}, expected a table"
        )));
    }
    known_keys("algorithm", &settings, given)?;
    merge(&mut settings, given);
    C::read(&toml::Table::try_from(settings).map_err(input)?)
}

/// Reads a struct from `table`; an error names the key.
pub(crate) fn read<T: DeserializeOwned>(table: &toml::Table) -> Result<T> {
    read_at("algorithm", table)
}

/// Reads a struct from the table at `place`, such as `algorithm.ppo`.
pub(crate) fn read_at<T: DeserializeOwned>(place: &str, table: &toml::Table) -> Result<T> {
    run::from_table(table, place).map_err(|e| Error::Input(format!("{e:#}")))
}

fn merge(base: &mut Value, given: &Value) {
    let Value::Object(given) = given else { return };
    for (key, value) in given {
        match base.get_mut(key) {
            Some(inner) if inner.is_object() && value.is_object() => merge(inner, value),
            _ => base[key] = value.clone(),
        }
    }
}

/// An error when `given` has a key that `defaults` does not have, here or in a table inside.
fn known_keys(at: &str, defaults: &Value, given: &Value) -> Result<()> {
    let (Some(own), Some(given)) = (defaults.as_object(), given.as_object()) else {
        return Ok(());
    };
    for (key, value) in given {
        let Some(default) = own.get(key) else {
            let known: Vec<&str> = own.keys().map(String::as_str).collect();
            let near = run::suggest(key, &known).unwrap_or_default();
            return Err(Error::Input(format!(
                "unknown key \"{at}.{key}\"; did you mean \"{at}.{near}\"?"
            )));
        };
        known_keys(&format!("{at}.{key}"), default, value)?;
    }
    Ok(())
}

fn input(error: impl std::fmt::Display) -> Error {
    Error::Input(format!("algorithm: {error}"))
}

/// The error of `restore` for a state that it cannot read.
pub(crate) fn bad_state(name: &str, error: impl std::fmt::Display) -> Error {
    Error::Input(format!(
        "the checkpoint's state of {name} is not readable: {error}"
    ))
}
