//! The rule `format`: 1 where the response passes every given test, else 0. White space around the
//! response is ignored.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Keys of kind `format`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Format {
    /// A regular expression that matches somewhere in the response (the syntax of Rust's `regex`)
    pub must_match: Option<String>,
    /// A regular expression that matches nowhere in it
    pub must_not_match: Option<String>,
    pub starts_with: Option<String>,
    pub ends_with: Option<String>,
    /// The response is one JSON value
    pub json: bool,
}

/// The rule with its expressions compiled.
pub(crate) struct Tests {
    must_match: Option<Regex>,
    must_not_match: Option<Regex>,
    rule: Format,
}

impl Format {
    pub(crate) fn compile(&self) -> Result<Tests, String> {
        if *self == Self::default() {
            return Err("needs must_match, must_not_match, starts_with, ends_with or json".into());
        }
        let regex = |key: &str, pattern: &Option<String>| match pattern {
            None => Ok(None),
            Some(pattern) => Regex::new(pattern).map(Some).map_err(|e| {
                let e = e.to_string();
                let why = e.lines().last().unwrap_or_default();
                let why = why.trim().trim_start_matches("error: ");
                format!("has {key} = {pattern:?}, which is not a regular expression: {why}")
            }),
        };
        Ok(Tests {
            must_match: regex("must_match", &self.must_match)?,
            must_not_match: regex("must_not_match", &self.must_not_match)?,
            rule: self.clone(),
        })
    }
}

impl Tests {
    pub fn pass(&self, response: &str) -> bool {
        let (text, rule) = (response.trim(), &self.rule);
        let holds = |test: &Option<String>, holds: fn(&str, &str) -> bool| {
            test.as_ref().is_none_or(|test| holds(text, test))
        };
        self.must_match.as_ref().is_none_or(|r| r.is_match(text))
            && self
                .must_not_match
                .as_ref()
                .is_none_or(|r| !r.is_match(text))
            && holds(&rule.starts_with, |text, start| text.starts_with(start))
            && holds(&rule.ends_with, |text, end| text.ends_with(end))
            && (!rule.json || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }
}
