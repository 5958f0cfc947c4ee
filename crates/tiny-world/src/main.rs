//! The `tiny-world` binary: see `tiny-world --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match tiny_world::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
