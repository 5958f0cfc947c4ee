//! `wick`: every stage and tool behind one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(wick::Cli::try_parse(std::env::args_os()))?.execute()
    })
}
