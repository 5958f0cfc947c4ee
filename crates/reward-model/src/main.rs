//! `reward-model`: trains a reward model from the command line.

use clap::Parser;
use std::process::ExitCode;

/// Trains a reward model on pairs of answers: a LoRA adapter and a scalar head on the frozen base.
///
/// Writes a run directory whose reward/ is one artefact (adapter, head, template, EOS rule, normalisation, golden scores
/// that are checked at load), which esrl-rlhf and evaluate take by naming the run.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  reward-model --config configs/tiny/rm.toml --run runs/rm
  reward-model --config configs/smollm2-135m/rm.toml --set model.source=runs/sft --run runs/rm
  reward-model --config configs/smollm2-135m/rm.toml --run runs/rm --resume

Data: GPT-4-LLM comparisons (v1, v2), HH transcripts, or JSONL with prompt, chosen, rejected.
Settings and their defaults: docs/config.md"
)]
struct Cli {
    #[command(flatten)]
    args: run::RunArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::main(ops::prepare_process, || {
        let config: reward_model::Config =
            run::load_config(cli.args.config.as_deref(), &cli.args.sets)?;
        config.check()?;
        if let Some(kills) = cli.args.verify_resume {
            return run::print(&run::verify_resume(&cli.args, kills)?);
        }
        reward_model::run(&cli.args, &config)
    })
}
