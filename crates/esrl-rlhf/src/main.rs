//! `esrl-rlhf`: RL from a reward model from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(esrl_rlhf::Cli::try_parse())?.execute()
    })
}
