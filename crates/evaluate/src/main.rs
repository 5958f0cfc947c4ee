//! `evaluate`: answers, comparison, scores, judging and merging from the command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::check_level, || evaluate::Cli::parse().execute())
}
