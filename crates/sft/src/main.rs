//! The binary `sft`, the same as `wick sft`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || sft::Cli::parse().execute())
}
