//! `sft`: supervised fine-tuning from the command line.

use clap::Parser;
use std::process::ExitCode;

/// Fine-tunes a LLaMA model on demonstrations: a LoRA adapter on the frozen base, or every weight.
///
/// Writes a run directory: config.toml, metrics.jsonl, TensorBoard events, samples/, checkpoints/ and the best adapter
/// in adapter/ (PEFT format), which reward-model, esrl-rlhf and evaluate take by naming the run.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  sft --config configs/tiny/sft.toml --run runs/sft
  sft --config configs/smollm2-135m/sft.toml --set train.max_steps=50 --set data.path=my.jsonl --run runs/mine
  sft --config configs/smollm2-135m/sft.toml --run runs/mine --resume

Data: Alpaca JSON, prompt/completion JSONL or chat messages (data.format = \"auto\" finds out which).
Settings and their defaults: docs/config.md"
)]
struct Cli {
    #[command(flatten)]
    args: run::RunArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(ops::prepare_process, || {
        let config: sft::Config = run::load_config(cli.args.config.as_deref(), &cli.args.sets)?;
        config.check()?;
        if let Some(kills) = cli.args.verify_resume {
            return run::print(&run::verify_resume(&cli.args, kills)?);
        }
        sft::run(&cli.args, &config)
    })
}
