//! `reward-model`: trains a reward model from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        reward_model::Cli::parse().execute()
    })
}
