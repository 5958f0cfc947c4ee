//! `evaluate`: answers, comparison, scores, judging and merging from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || evaluate::Cli::parse().execute())
}
