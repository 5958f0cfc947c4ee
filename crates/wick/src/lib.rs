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

mod docs;
mod help;
mod plan;
mod stage;

pub use docs::{completions, man_pages};
pub use help::{GROUPS, command};
pub use stage::Stage;

use anyhow::Result;
use clap::{FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// RLHF for LLaMA-class models on one machine: fine-tune, learn a reward, improve by RL, evaluate.
///
/// Each command that trains writes a run directory; the next one takes it by name. Paths in
/// settings and arguments are relative to the current directory.
#[derive(Debug, Parser)]
#[command(name = "wick", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sft(sft::Cli),
    Rm(reward_model::Cli),
    Rlhf(esrl_rlhf::Cli),
    Plan(plan::PlanCommand),
    Replay(esrl_rlhf::ReplayConfig),
    /// List the RL methods with their papers
    #[command(after_help = "Examples:
  wick list
  wick rlhf --config configs/tiny/rloo.toml   # a method has a config of its name")]
    List,
    /// Define a metric of metrics.jsonl
    #[command(after_help = "Examples:
  wick explain objective/kl
  wick explain policy/clipfrac")]
    Explain {
        /// Name of the metric, as in metrics.jsonl
        metric: String,
    },
    #[command(flatten)]
    Evaluate(evaluate::Command),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  wick completions bash > ~/.local/share/bash-completion/completions/wick
  wick completions zsh > ~/.zfunc/_wick
  wick completions fish > ~/.config/fish/completions/wick.fish")]
    Completions {
        /// The shell that will read the script
        shell: Shell,
    },
    /// Print the man page, or write the pages of all commands into a directory
    #[command(after_help = "Examples:
  wick man | man -l -
  wick man ~/.local/share/man/man1")]
    Man {
        /// Directory for wick.1, wick-sft.1, …; created if it does not exist
        dir: Option<PathBuf>,
    },
}

impl Cli {
    /// Parses arguments, the first of which is the program's name.
    pub fn try_parse<T: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches_from(args)?)
    }

    /// Parses the arguments of this process. Prints the help or the error and exits where there is
    /// nothing to execute.
    pub fn parse_or_exit() -> Self {
        Self::try_parse(std::env::args_os()).unwrap_or_else(|e| e.exit())
    }

    /// Runs the command. Without one, prints the help.
    pub fn execute(self) -> Result<()> {
        match self.command {
            None => run::print(&command().render_help().to_string()),
            Some(Command::Sft(cli)) => cli.execute(),
            Some(Command::Rm(cli)) => cli.execute(),
            Some(Command::Rlhf(cli)) => cli.execute(),
            Some(Command::Plan(plan)) => plan.execute(),
            Some(Command::Replay(config)) => run::print(&esrl_rlhf::replay(&config)?),
            Some(Command::List) => run::print(&esrl_rlhf::list()),
            Some(Command::Explain { metric }) => run::print(&esrl_rlhf::explain(&metric)?),
            Some(Command::Evaluate(command)) => command.execute(),
            Some(Command::Completions { shell }) => run::print(&completions(shell)),
            Some(Command::Man { dir: None }) => run::print(&docs::man_page()?),
            Some(Command::Man { dir: Some(dir) }) => run::print(&man_pages(&dir)?),
        }
    }
}
