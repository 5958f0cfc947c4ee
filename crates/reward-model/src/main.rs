//! The binary `reward-model`, the same as `wick rm`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(reward_model::Cli::try_parse())?.execute()
    })
}
