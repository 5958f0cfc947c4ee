//! The command line of `reward-model`, also `wick rm`.

use crate::config::Config;
use crate::plan::plan;
use crate::training::run;
use ::run::{PlanArgs, StageArgs};
use anyhow::Result;
use clap::Parser;

/// Train a reward model on pairs of answers
///
/// Trains a LoRA adapter and a scalar head on the frozen base.
///
/// Writes a run directory whose reward/ is one artefact: adapter, head, template, EOS rule,
/// normalisation, and golden scores that are checked at load. Later stages take the run by its
/// directory.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  wick rm --config configs/tiny/rm.toml --run runs/rm
  wick rm --config configs/smollm2-135m/rm.toml --set model.source=runs/sft --run runs/rm
  wick rm --config configs/smollm2-135m/rm.toml --run runs/rm --resume
  wick rm plan --config configs/llama-7b/rm.toml --memory-gb 24

Data: pairs, comparisons, HH, rated or ranked answers, SHP; `wick data inspect FILE` shows.
Settings and their defaults: docs/config.md. The binary `reward-model` is the same command."
)]
pub struct Cli {
    #[command(flatten)]
    stage: StageArgs,
}

impl Cli {
    /// Trains, or does what the subcommand or flag asks for.
    pub fn execute(&self) -> Result<()> {
        self.stage
            .execute("reward-model", Config::check, run, print_plan)
    }
}

/// Prints what a run with these settings would take; see [`plan()`].
pub fn print_plan(args: &PlanArgs) -> Result<()> {
    let config: Config = args.load_config(Config::check)?;
    plan(args, &config)?.print(args.json)
}
