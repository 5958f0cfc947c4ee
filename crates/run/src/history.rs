//! The resumes of a run in its run.json, and the settings that it had at each step.

use crate::command_line::argv;
use crate::resume_settings::restore;
use crate::saved_run::SavedRun;
use crate::time_format::rfc3339;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::time::SystemTime;
use toml::Table;

/// Key of run.json: one entry for each resume.
const RESUMED: &str = "resumed";
/// Key of an entry: what the settings that it changed were before. Earlier versions wrote none.
const BEFORE: &str = "settings_before";

/// Adds a resume from the checkpoint of `step`; None: from the start.
pub(crate) fn record_resume(
    info: &mut Map<String, Value>,
    step: Option<u64>,
    before: Map<String, Value>,
) {
    let resumed = info.entry(RESUMED).or_insert_with(|| json!([]));
    if let Value::Array(list) = resumed {
        let now = rfc3339(SystemTime::now());
        list.push(json!({ "started": now, "step": step, "argv": argv(), BEFORE: before }));
    }
}

/// Settings of a run at one of its steps.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsAt {
    pub settings: Table,
    /// False: a resume after the step did not record what it changed, as in earlier versions, so
    /// the settings may be later ones
    pub is_certain: bool,
}

impl SavedRun {
    /// The settings under which the run took `step`, counted from 1: those of config.toml without
    /// what resumes changed after it.
    ///
    /// # Errors
    /// If run.json records what is no setting.
    pub fn settings_at(&self, step: u64) -> Result<SettingsAt> {
        let (mut settings, mut is_certain) = (self.config.clone(), true);
        let resumed = self.info.get(RESUMED).and_then(Value::as_array);
        for entry in resumed.into_iter().flatten().rev() {
            if entry["step"].as_u64().unwrap_or(0) < step {
                break; // it took the step, under what the settings were then
            }
            match entry.get(BEFORE).and_then(Value::as_object) {
                Some(before) => restore(&mut settings, before)
                    .with_context(|| format!("{}: run.json is damaged", self.dir.display()))?,
                None => is_certain = false,
            }
        }
        Ok(SettingsAt {
            settings,
            is_certain,
        })
    }
}
