//! `wick`: every stage and tool behind one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = wick::Cli::parse_or_exit();
    run::main(ops::prepare_process, || cli.execute())
}
