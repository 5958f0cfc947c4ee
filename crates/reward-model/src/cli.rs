//! The command line of `reward-model`.

use crate::Config;
use anyhow::Result;
use clap::Parser;
use run::{RunArgs, Task};

/// Trains a reward model on pairs of answers: a LoRA adapter and a scalar head on the frozen base.
///
/// Writes a run directory whose reward/ is one artefact (adapter, head, template, EOS rule, normalisation, golden scores
/// that are checked at load), which esrl-rlhf and evaluate take by naming the run.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  reward-model --config configs/tiny/rm.toml --run runs/rm
  reward-model --config configs/smollm2-135m/rm.toml --set model.source=runs/sft --run runs/rm
  reward-model --config configs/smollm2-135m/rm.toml --run runs/rm --resume
  reward-model plan --config configs/llama-7b/rm.toml --memory-gb 24

Data: GPT-4-LLM comparisons (v1, v2), HH transcripts, or JSONL with prompt, chosen, rejected.
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
