//! `sft`: supervised fine-tuning from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || sft::Cli::parse().execute())
}
