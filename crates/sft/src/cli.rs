//! The command line of `sft`.

use crate::Config;
use anyhow::Result;
use clap::Parser;
use run::{RunArgs, Task};

/// Fine-tunes a LLaMA model on demonstrations: a LoRA adapter on the frozen base, or every weight.
///
/// Writes a run directory: config.toml, metrics.jsonl, TensorBoard events, samples/, checkpoints/ and the best adapter
/// in adapter/ (PEFT format), which reward-model, esrl-rlhf and evaluate take by naming the run.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  sft --config configs/tiny/sft.toml --run runs/sft
  sft --config configs/smollm2-135m/sft.toml --set train.max_steps=50 --set data.path=my.jsonl --run runs/mine
  sft --config configs/smollm2-135m/sft.toml --run runs/mine --resume
  sft plan --config configs/llama-7b/sft.toml --memory-gb 24

Data: Alpaca JSON, prompt/completion JSONL or chat messages (data.format = \"auto\" finds out which).
Settings and their defaults: docs/config.md"
)]
pub struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    args: RunArgs,
}

impl Cli {
    pub fn execute(&self) -> Result<()> {
        if let Some(Task::Plan(args)) = &self.task {
            let config: Config = args.load_config()?;
            config.check()?;
            return crate::plan(args, &config)?.print(args.json);
        }
        self.args.execute(Config::check, crate::run)
    }
}
