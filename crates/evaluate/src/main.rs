//! The binary `evaluate`: `evaluate COMMAND` is the same as `wick COMMAND`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(evaluate::Cli::try_parse())?.execute()
    })
}
