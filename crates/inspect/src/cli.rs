//! The command line of `wick data`.

use crate::{ConvertCommand, InspectCommand};
use anyhow::Result;

/// Look at training data before a run, or write it as JSON Lines
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  wick data inspect my.jsonl
  wick data inspect my.jsonl --model MODEL --max-len 1024
  wick data convert my.csv --out rows.jsonl

`wick data inspect --help` and `wick data convert --help` have more."
)]
pub struct DataCommand {
    #[command(subcommand)]
    command: Command,
}

/// The commands on data files.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show how a file is read: format, fields, lengths, duplicates, what is dropped or refused
    ///
    /// Nothing is trained and no weight is loaded. A bad row is counted, not fatal: the command
    /// fails only if no row can be read. The last lines say which stages take the file.
    #[command(after_help = "Examples:
  wick data inspect my.jsonl
  wick data inspect rows/ --model MODEL --template chat --examples 5
  wick data inspect train.jsonl --with test.jsonl      # prompts that are in both
  wick data inspect --config sft.toml                  # the rows of a stage's config
  wick data inspect my.parquet --stage rlhf --rows 1000 --json")]
    Inspect(InspectCommand),
    /// Write the rows of any format as JSON Lines of one format
    ///
    /// Demonstrations become {"messages": …}, pairs {"prompt": …, "chosen": …, "rejected":
    /// …}, prompts {"prompt": …}, and texts without prompts {"text": …}. A row that a stage
    /// would refuse is an error, and so is a field that would be lost and is not in --ignore.
    #[command(after_help = "Examples:
  wick data convert my.csv --out rows.jsonl
  wick data convert shards/ --out rows.jsonl.zst --ignore id,source
  wick data convert alpaca.json --to prompt --out prompts.jsonl")]
    Convert(ConvertCommand),
}

impl DataCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// As [`InspectCommand::report`] and [`ConvertCommand::convert`].
    pub fn execute(&self) -> Result<()> {
        match &self.command {
            Command::Inspect(inspect) => inspect.execute(),
            Command::Convert(convert) => convert.execute(),
        }
    }
}
