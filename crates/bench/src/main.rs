//! The binary `bench`.

use bench::Cli;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::exit(run::parsed(Cli::try_parse()).and_then(|cli| cli.execute()))
}
