//! The arguments of `wick`, and what each command does.

use crate::docs::{completions, man_page, man_pages};
use crate::help::grouped;
use crate::plan::PlanCommand;
use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
    Data(inspect::DataCommand),
    Plan(PlanCommand),
    Replay(esrl_rlhf::ReplayConfig),
    /// List the RL methods with their papers
    #[command(after_help = "Examples:
  wick list
  wick rlhf --config configs/tiny/rloo.toml   # each method has a config with its name")]
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

    /// Runs the command. Without one, prints the help.
    pub fn execute(self) -> Result<()> {
        match self.command {
            None => run::print(&command().render_help().to_string()),
            Some(Command::Sft(cli)) => cli.execute(),
            Some(Command::Rm(cli)) => cli.execute(),
            Some(Command::Rlhf(cli)) => cli.execute(),
            Some(Command::Data(data)) => data.execute(),
            Some(Command::Plan(plan)) => plan.execute(),
            Some(Command::Replay(config)) => run::print(&esrl_rlhf::replay(&config)?),
            Some(Command::List) => run::print(&esrl_rlhf::list()),
            Some(Command::Explain { metric }) => run::print(&esrl_rlhf::explain(&metric)?),
            Some(Command::Evaluate(command)) => command.execute(),
            Some(Command::Completions { shell }) => run::print(&completions(command(), shell)),
            Some(Command::Man { dir: None }) => run::print(&man_page(command())?),
            Some(Command::Man { dir: Some(dir) }) => run::print(&man_pages(command(), &dir)?),
        }
    }
}

/// The clap command of `wick`, its help grouped.
pub fn command() -> clap::Command {
    grouped(Cli::command().propagate_version(true))
}
