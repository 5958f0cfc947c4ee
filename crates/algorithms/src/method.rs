//! What a method declares so that the registry can list, configure and build it.

use crate::algorithm::Algorithm;
use crate::error::Result;
use crate::metrics::Definitions;
use crate::settings::MethodConfig;
use serde_json::Value;

/// One name of a method, with its text in `wick list`.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The value of `algorithm.name`.
    pub name: &'static str,
    /// One line on what it does.
    pub about: &'static str,
    /// Authors, year and arXiv number.
    pub paper: &'static str,
}

/// A method, or a family of methods that share code, as the registry sees it.
///
/// Its settings, defaults and errors come from [`Method::Config`]; merging the user's table,
/// checking it and writing it back is done once, in the registry.
pub trait Method {
    /// The `[algorithm]` table without `name`.
    type Config: MethodConfig;

    /// The names it goes by. A family has several, and tells them apart by `name` below.
    const NAMES: &'static [Name];
    /// Its page is docs/methods/PAGE.md.
    const PAGE: &'static str;
    /// The metrics that only this method logs.
    const METRICS: Definitions = &[];

    /// The settings of the method `name` when the user sets nothing else.
    ///
    /// `given` is the user's table: where a key chooses among sets of defaults (ESRL's `mode`),
    /// look it up here.
    fn defaults(_name: &str, _given: &Value) -> Result<Self::Config> {
        Ok(Self::Config::default())
    }

    /// The algorithm, from checked settings. `seed` keys the method's random streams.
    fn build(name: &str, config: Self::Config, seed: u64) -> Box<dyn Algorithm>;
}
