//! The binary `sft`, the same as `wick sft`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(sft::Cli::try_parse())?.execute()
    })
}
