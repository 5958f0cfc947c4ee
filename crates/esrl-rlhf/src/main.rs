//! `esrl-rlhf`: RL from a reward model from the command line.

use clap::Parser;
use std::process::ExitCode;

/// Improves a fine-tuned policy by ESRL, PPO or any other method of `--list`.
///
/// Takes the run directories of sft and reward-model and writes its own: metrics.jsonl, TensorBoard events, samples/,
/// checkpoints/ and the policy's adapter in adapter/ (PEFT format).
#[derive(Parser)]
#[command(version, after_help = include_str!("examples.txt"))]
struct Cli {
    #[command(flatten)]
    args: run::RunArgs,
    /// Print the algorithms and their papers
    #[arg(long)]
    list: bool,
    /// Print what a metric means
    #[arg(long, value_name = "METRIC")]
    explain: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run::exit((|| {
        if cli.list {
            return run::print(&esrl_rlhf::list());
        }
        if let Some(metric) = &cli.explain {
            return run::print(&esrl_rlhf::explain(metric)?);
        }
        let config: esrl_rlhf::Config =
            run::load_config(cli.args.config.as_deref(), &cli.args.sets)?;
        config.check()?;
        if let Some(kills) = cli.args.verify_resume {
            return run::print(&run::verify_resume(&cli.args, kills)?);
        }
        esrl_rlhf::run(&cli.args, &config)
    })())
}
