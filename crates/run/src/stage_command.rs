//! The command of a training stage: load the settings, then train, plan or verify.

use crate::args::{PlanArgs, RunArgs};
use crate::config::load_checked;
use crate::process::print;
use crate::reopen::open_to_resume;
use crate::run_info::CONFIG;
use crate::verify::verify_resume;
use anyhow::Result;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// The arguments of a training command: those of a run, or the subcommand `plan`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct StageArgs {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Task {
    /// Predict the memory, disk, tokens and steps of a run, without loading a weight
    Plan(PlanArgs),
}

impl StageArgs {
    /// Trains with `run`, or plans with `plan`; `check` validates the settings of a run first.
    /// `stage` is the name in run.json.
    pub fn execute<T: DeserializeOwned>(
        &self,
        stage: &str,
        check: impl FnOnce(&T) -> Result<()>,
        run: impl FnOnce(&RunArgs, &T) -> Result<()>,
        plan: impl FnOnce(&PlanArgs) -> Result<()>,
    ) -> Result<()> {
        match &self.task {
            Some(Task::Plan(args)) => plan(args),
            None => self.run.execute(stage, check, run),
        }
    }
}

impl RunArgs {
    /// Loads and checks the settings, then trains with them, or verifies that they resume exactly.
    pub fn execute<T: DeserializeOwned>(
        &self,
        stage: &str,
        check: impl FnOnce(&T) -> Result<()>,
        run: impl FnOnce(&Self, &T) -> Result<()>,
    ) -> Result<()> {
        let config: T = load_checked(self.settings_file(stage)?.as_deref(), &self.sets, check)?;
        match self.verify_resume {
            Some(kills) => print(&verify_resume(self, kills)?),
            None => run(self, &config),
        }
    }

    /// `--config`; of a run that is resumed without one, the settings that it has.
    fn settings_file(&self, stage: &str) -> Result<Option<PathBuf>> {
        let run = self
            .run
            .as_ref()
            .filter(|_| self.resume && self.config.is_none());
        let Some(run) = run else {
            return Ok(self.config.clone());
        };
        Ok(Some(open_to_resume(run, stage)?.dir.join(CONFIG)))
    }
}
