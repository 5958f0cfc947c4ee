//! The settings that every source of reward has, and how the tables of sources are read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

/// The keys that all kinds share: a source's score is normalised, clipped, then weighted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shared {
    /// May be negative; 0: the source is logged and does not count
    pub weight: f64,
    pub normalise: Normalise,
    /// Lowest and highest, after normalising
    pub clip: Option<[f64; 2]>,
}

/// How a source's scores are normalised.
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

impl Shared {
    pub(crate) fn clipped(&self, score: f64) -> f64 {
        match self.clip {
            Some([low, high]) => score.clamp(low, high),
            None => score,
        }
    }
}

/// Reads a kind's own keys into its struct. An unknown key is an error that lists the known ones.
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

/// Reads a table into a struct, with errors that name the key.
pub(crate) fn typed<T: DeserializeOwned>(table: &Table) -> std::result::Result<T, String> {
    run::from_table(table, "").map_err(|e| e.to_string().trim_start_matches("settings: ").into())
}

/// The names of a struct's fields.
pub(crate) fn keys<T: Serialize>(value: &T) -> Vec<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
