//! The settings of a mixture: the entries of `[[rewards]]`. An entry has the keys that all kinds share and its kind's own.

use crate::kind::{KINDS, Kind, Model};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use toml::{Table, Value};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table")]
pub struct SourceConfig {
    #[serde(flatten)]
    pub kind: Kind,
    #[serde(flatten)]
    pub shared: Shared,
}

/// What a source's score goes through on its way into the sum: normalised, clipped, weighted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shared {
    /// May be negative; 0 only measures
    pub weight: f64,
    pub normalise: Normalise,
    /// Lowest and highest, after normalising
    pub clip: Option<[f64; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    #[default]
    None,
    /// By mean and standard deviation of the rows scored together
    Batch,
    /// By those of all rows scored so far, these included
    Running,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            weight: 1.0,
            normalise: Normalise::None,
            clip: None,
        }
    }
}

impl SourceConfig {
    /// The trained reward model alone.
    pub fn model() -> Self {
        Self {
            kind: Kind::Model(Model {}),
            shared: Shared::default(),
        }
    }
}

impl TryFrom<Table> for SourceConfig {
    type Error = String;

    fn try_from(mut table: Table) -> std::result::Result<Self, String> {
        let name = match table.remove("kind") {
            Some(Value::String(name)) => name,
            Some(other) => {
                return Err(format!("kind = {other} is not one of {}", KINDS.join(", ")));
            }
            None => {
                return Err(format!(
                    "kind is missing; it is one of {}",
                    KINDS.join(", ")
                ));
            }
        };
        let shared_keys = keys(&Shared::default());
        let is_shared = |(key, _): &(String, Value)| shared_keys.contains(key);
        let (shared, own): (Table, Table) = table.into_iter().partition(is_shared);
        let Some(kind) = Kind::parse(&name, &own)? else {
            let near = run::nearest(&name, KINDS).unwrap_or_default();
            let all = KINDS.join(", ");
            return Err(format!(
                "kind = {name:?} is not one of {all}; did you mean {near:?}?"
            ));
        };
        Ok(Self {
            kind,
            shared: typed(&shared)?,
        })
    }
}

/// A kind's own keys as its struct.
pub(crate) fn own_keys<T: DeserializeOwned + Serialize + Default>(
    kind: &str,
    own: &Table,
) -> std::result::Result<T, String> {
    let known = keys(&T::default());
    if let Some(wrong) = own.keys().find(|key| !known.contains(key)) {
        let all = [known, keys(&Shared::default())].concat();
        return Err(format!(
            "unknown key {wrong:?}; a source of kind {kind:?} has {}",
            all.join(", ")
        ));
    }
    typed(own)
}

fn typed<T: DeserializeOwned>(table: &Table) -> std::result::Result<T, String> {
    run::from_table(table, "").map_err(|e| e.to_string().trim_start_matches("settings: ").into())
}

/// The names of a struct's fields.
fn keys<T: Serialize>(value: &T) -> Vec<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Refuses values that cannot work, programs that are not there and keys that are not in the environment; starts nothing.
pub fn check(configs: &[SourceConfig]) -> Result<()> {
    for (i, config) in configs.iter().enumerate() {
        let Shared { weight, clip, .. } = &config.shared;
        let shared = match clip {
            _ if !weight.is_finite() => Err(format!("has weight = {weight}; give a number")),
            Some([low, high]) if low.partial_cmp(high) != Some(Ordering::Less) => Err(format!(
                "has clip = [{low}, {high}]; the first must be the lower"
            )),
            _ => Ok(()),
        };
        let own = shared.and_then(|()| config.kind.check());
        own.map_err(|why| Error::Input(format!("rewards[{i}] ({}) {why}", config.kind.name())))?;
    }
    Ok(())
}

/// Must the prompts have reference answers?
pub fn needs_reference(configs: &[SourceConfig]) -> bool {
    configs.iter().any(|config| config.kind.compares())
}

/// Must there be a reward model?
pub fn needs_model(configs: &[SourceConfig]) -> bool {
    let is_model = |config: &SourceConfig| matches!(config.kind, Kind::Model(_));
    configs.iter().any(is_model)
}
