//! The command line of `sft`, also `wick sft`.

use crate::config::Config;
use crate::plan::plan;
use crate::training::run;
use ::run::{PlanArgs, StageArgs};
use anyhow::Result;
use clap::Parser;

/// Fine-tune a model on demonstrations
///
/// Trains a LoRA adapter on the frozen base, or every weight.
///
/// Writes a run directory with config.toml, metrics.jsonl, TensorBoard events, samples/,
/// checkpoints/ and the best adapter in adapter/ (PEFT format). Later stages take the run by its
/// directory.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  wick sft --config configs/tiny/sft.toml --run runs/sft
  wick sft --config configs/smollm2-135m/sft.toml --set data.path=my.jsonl --run runs/mine
  wick sft --config configs/smollm2-135m/sft.toml --run runs/mine --resume
  wick sft plan --config configs/llama-7b/sft.toml --memory-gb 24

Data: Alpaca, chat, prompt/completion, question/answer or text; `wick data inspect FILE` shows.
Settings and their defaults: docs/config.md. The binary `sft` is the same command."
)]
pub struct Cli {
    #[command(flatten)]
    stage: StageArgs,
}

impl Cli {
    /// Trains, or does what the subcommand or flag asks for.
    pub fn execute(&self) -> Result<()> {
        self.stage.execute("sft", Config::check, run, print_plan)
    }
}

/// Prints what a run with these settings would take; see [`plan()`].
pub fn print_plan(args: &PlanArgs) -> Result<()> {
    let config: Config = args.load_config(Config::check)?;
    plan(args, &config)?.print(args.json)
}
