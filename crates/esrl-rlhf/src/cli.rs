//! The command line of `esrl-rlhf`, also `wick rlhf`.

use crate::config::Config;
use crate::replay::{self, ReplayConfig};
use crate::{explain, plan, train_loop};
use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use run::PlanArgs;

/// Improve a fine-tuned policy by RL: ESRL, PPO, or another method of `wick list`
///
/// Takes the run directories of sft and reward-model and writes its own: metrics.jsonl, TensorBoard
/// events, samples/, checkpoints/, the policy's adapter in adapter/ (PEFT format) and that of the
/// best evaluation in best/.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = include_str!("examples.txt"),
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: run::RunArgs,
    /// Fail unless the config is for this method
    #[arg(long, value_name = "METHOD")]
    algo: Option<String>,
    /// Print the algorithms and their papers
    #[arg(long)]
    list: bool,
    /// Print the definition of a metric
    #[arg(long, value_name = "METRIC")]
    explain: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(ReplayConfig),
    /// Predict memory, disk, tokens, steps and learning rates of a run, without loading a weight
    Plan(PlanArgs),
}

impl Cli {
    /// Trains, or does what the subcommand or flag asks for.
    pub fn execute(&self) -> Result<()> {
        match &self.command {
            Some(Command::Replay(config)) => return run::print(&replay::replay(config)?),
            Some(Command::Plan(args)) => return print_plan(args),
            None => {}
        }
        if self.list {
            return run::print(&explain::list());
        }
        if let Some(metric) = &self.explain {
            return run::print(&explain::explain(metric)?);
        }
        let check = |config: &Config| {
            self.check_method(config)?;
            config.check()
        };
        self.args.execute("esrl-rlhf", check, train_loop::run)
    }

    /// Refuses a config of another method than `--algo`. The name of a shipped config is as good
    /// as that of its method: `esrl-released`.
    fn check_method(&self, config: &Config) -> Result<()> {
        let Some(asked) = &self.algo else {
            return Ok(());
        };
        let file = self.args.config.as_deref();
        let is_file = file.is_some_and(|file| file.file_stem() == Some(asked.as_ref()));
        let name = config.algorithm.get("name").and_then(|name| name.as_str());
        ensure!(
            is_file || name == Some(asked),
            "{asked} was asked for, and {} is a config of {}; give the config of {asked}, or leave \
             ALGO out",
            file.map_or("the given one".into(), |file| file.display().to_string()),
            name.unwrap_or("no method"),
        );
        Ok(())
    }
}

/// Prints what a run with these settings would take; see [`plan`](crate::plan()).
pub fn print_plan(args: &PlanArgs) -> Result<()> {
    let config: Config = args.load_config(Config::check)?;
    plan::plan(args, &config)?.print(args.json)
}
