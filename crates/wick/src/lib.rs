//! The command line of Wick: one binary with a subcommand for every stage and tool.
//!
//! The arguments and their help are those of the libraries (`sft::Cli`, `evaluate::Command`, …).
//! This crate only groups them, and adds what concerns several of them: `plan`, completions, man
//! pages.
//!
//! ```
//! let cli = wick::Cli::try_parse(["wick", "list"]).expect("arguments");
//! cli.execute().expect("prints the methods");
//! ```

mod cli;
mod docs;
mod help;
mod plan;
mod stage;

pub use cli::{Cli, command};
pub use docs::{completions, man_pages};
pub use help::GROUPS;
pub use stage::Stage;
