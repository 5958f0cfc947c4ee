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

/// The kinds of source that find nothing to compare in some of the references, with how many those
/// are and the index of the first: even the reference itself would score 0. Blank references are
/// not counted.
///
/// ```
/// let config: rewards::SourceConfig = toml::from_str("kind = \"rouge_2\"")?;
/// let found = rewards::useless_references(&[config], ["two words", "one"].into_iter());
/// assert_eq!(found, [("rouge_2", 1, 1)]);
/// # Ok::<(), toml::de::Error>(())
/// ```
pub fn useless_references<'a>(
    configs: &[SourceConfig],
    references: impl Iterator<Item = &'a str> + Clone,
) -> Vec<(&'static str, usize, usize)> {
    let of_source = |config: &SourceConfig| {
        let blank = |text: &str| text.trim().is_empty();
        let useless = |(_, text): &(usize, &str)| !blank(text) && config.kind.is_useless(text);
        let mut found = references.clone().enumerate().filter(useless);
        let (first, _) = found.next()?;
        Some((config.kind.name(), 1 + found.count(), first))
    };
    configs.iter().filter_map(of_source).collect()
}
