//! The command line of `esrl-rlhf`.

use crate::{Config, ReplayConfig};
use anyhow::Result;
use clap::{Parser, Subcommand};
use run::PlanArgs;

/// Improves a fine-tuned policy by ESRL, PPO or any other method of `--list`.
///
/// Takes the run directories of sft and reward-model and writes its own: metrics.jsonl, TensorBoard events, samples/,
/// checkpoints/, the policy's adapter in adapter/ (PEFT format) and that of the best evaluation in best/.
#[derive(Parser)]
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
    /// Print the algorithms and their papers
    #[arg(long)]
    list: bool,
    /// Print what a metric means
    #[arg(long, value_name = "METRIC")]
    explain: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Compute a step of a run again and show it token by token
    Replay(ReplayConfig),
    /// Predict memory, disk, tokens, steps and learning rates of a run, without loading a weight
    Plan(PlanArgs),
}

impl Cli {
    pub fn execute(&self) -> Result<()> {
        match &self.command {
            Some(Command::Replay(config)) => return run::print(&crate::replay(config)?),
            Some(Command::Plan(args)) => {
                let config: Config = args.load_config()?;
                config.check()?;
                return crate::plan(args, &config)?.print(args.json);
            }
            None => {}
        }
        if self.list {
            return run::print(&crate::list());
        }
        if let Some(metric) = &self.explain {
            return run::print(&crate::explain(metric)?);
        }
        self.args.execute(Config::check, crate::run)
    }
}
