//! The settings under which a run took each of its steps: a resume may have changed some.

use crate::config::Config;
use anyhow::{Context, Result};
use run::SavedRun;

/// The settings of a range of steps.
pub(crate) struct SettingsByStep {
    /// First step and settings, ascending
    parts: Vec<(u64, Config)>,
    /// False: a resume did not record what it changed
    pub is_certain: bool,
}

impl SettingsByStep {
    /// Those of the steps after `from` up to `to`. Nothing stops a replay: `watch.stop` is off.
    pub fn read(saved: &SavedRun, from: u64, to: u64) -> Result<Self> {
        let (mut parts, mut is_certain, mut last) = (Vec::new(), true, None);
        for step in from + 1..=to {
            let at = saved.settings_at(step)?;
            is_certain &= at.is_certain;
            if last.as_ref() != Some(&at.settings) {
                let mut config: Config = run::from_table(&at.settings, "")?;
                config.watch.stop = false;
                parts.push((step, config.resolved()?));
                last = Some(at.settings);
            }
        }
        Ok(Self { parts, is_certain })
    }

    /// Those of one step.
    pub fn of(&self, step: u64) -> Result<&Config> {
        let mut before = self.parts.iter().rev().filter(|(first, _)| *first <= step);
        let (_, config) = before.next().context("the replay began after this step")?;
        Ok(config)
    }
}
