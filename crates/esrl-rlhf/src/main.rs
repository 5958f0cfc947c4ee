//! `esrl-rlhf`: RL from a reward model from the command line.

use clap::Parser;
use std::process::ExitCode;

/// Improves a fine-tuned policy against a reward model by ESRL or PPO.
///
/// Takes the run directories of sft and reward-model and writes its own: metrics.jsonl, TensorBoard events, samples/,
/// checkpoints/ and the policy's adapter in adapter/ (PEFT format).
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  esrl-rlhf --config configs/tiny/esrl.toml --run runs/esrl
  esrl-rlhf --config configs/tiny/ppo.toml --set algorithm.kl_coef=0.1 --run runs/ppo-0.1
  esrl-rlhf --config configs/smollm2-135m/esrl.toml --run runs/esrl --resume
  esrl-rlhf --list

Methods, their equations and keys: docs/methods"
)]
struct Cli {
    #[command(flatten)]
    args: run::RunArgs,
    /// Print the algorithms and their papers
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::exit((|| {
        if cli.list {
            return run::print(&esrl_rlhf::list());
        }
        let config: esrl_rlhf::Config =
            run::load_config(cli.args.config.as_deref(), &cli.args.sets)?;
        config.check()?;
        esrl_rlhf::run(&cli.args, &config)
    })())
}
