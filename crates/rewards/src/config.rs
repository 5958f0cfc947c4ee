//! The settings of a mixture: the entries of `[[rewards]]`. An entry has the keys that all kinds
//! share, and those of its kind.

use crate::kind::{KINDS, Kind, Model};
use crate::shared::{Shared, keys, typed};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use toml::{Table, Value};

/// One entry of `[[rewards]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table")]
pub struct SourceConfig {
    #[serde(flatten)]
    pub kind: Kind,
    #[serde(flatten)]
    pub shared: Shared,
}

impl SourceConfig {
    /// The trained reward model alone.
    pub fn model() -> Self {
        Self {
            kind: Kind::Model(Model::default()),
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

/// Checks the sources without starting them. The error names the first value that cannot work,
/// program that does not exist, or API key that is not in the environment.
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

/// Whether a source compares with the prompts' reference answers.
pub fn needs_reference(configs: &[SourceConfig]) -> bool {
    configs.iter().any(|config| config.kind.compares())
}

/// Whether a source is the trained reward model.
pub fn needs_model(configs: &[SourceConfig]) -> bool {
    let is_model = |config: &SourceConfig| matches!(config.kind, Kind::Model(_));
    configs.iter().any(is_model)
}

/// Whether a source finds nothing to compare in a reference: even the reference itself would score
/// 0. A blank one is not meant.
///
/// ```
/// let config: rewards::SourceConfig = toml::from_str("kind = \"rouge_2\"")?;
/// assert!(rewards::is_useless(&config, "one") && !rewards::is_useless(&config, "two words"));
/// # Ok::<(), toml::de::Error>(())
/// ```
pub fn is_useless(config: &SourceConfig, reference: &str) -> bool {
    !reference.trim().is_empty() && config.kind.is_useless(reference)
}
