//! `evaluate`: answers, comparison, scores, judging and merging from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(|| evaluate::Cli::parse().execute())
}
