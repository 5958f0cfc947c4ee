//! Settings of MA-PPO's parsing termination: what finds the clauses of a response.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const DAY: f64 = 86_400.0;

/// `[rollout.clauses]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClausesConfig {
    /// `splitter`: punctuation and conjunctions; `file`; `program`
    pub source: ClauseSource,
    /// With `file`: JSON lines `{"text": …, "starts": [character offsets]}`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// With `program`: the program and its arguments. A request is `{"id", "texts"}`, its answer
    /// `{"id", "starts": [[…], …]}`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Seconds that one answer may take
    pub timeout_secs: f64,
    /// Attempts after the first
    pub retries: usize,
}

/// What finds clauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClauseSource {
    Splitter,
    File,
    Program,
}

impl Default for ClausesConfig {
    fn default() -> Self {
        Self {
            source: ClauseSource::Splitter,
            path: None,
            command: None,
            timeout_secs: 60.0,
            retries: 2,
        }
    }
}

impl ClausesConfig {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<()> {
        let has = |what: bool, key: &str, source: &str| {
            ensure!(
                what,
                "rollout.clauses.{key} is missing; source = \"{source}\" needs it"
            );
            Ok(())
        };
        match self.source {
            ClauseSource::Splitter => Ok(()),
            ClauseSource::File => has(self.path.is_some(), "path", "file"),
            ClauseSource::Program => {
                let named = self.command.as_ref().is_some_and(|words| !words.is_empty());
                has(named, "command", "program")
            }
        }?;
        ensure!(
            self.timeout_secs > 0.0 && self.timeout_secs <= DAY,
            "rollout.clauses.timeout_secs = {} must be a number above 0, at most {DAY}",
            self.timeout_secs
        );
        Ok(())
    }
}
