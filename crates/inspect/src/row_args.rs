//! The arguments that say how rows are read.

use anyhow::{Result, anyhow};
use data::{DataPath, Format, Only, ReadOptions, TrainOn};
use serde_json::Value;

/// How rows are read.
#[derive(Clone, Debug, clap::Args)]
pub struct RowArgs {
    /// Dataset format of the rows [default: auto, by the fields of the first row]
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_default_value = true,
        value_parser = format)]
    pub format: Format,
    /// Only the rows whose instruction matches this regular expression
    #[arg(long, value_name = "REGEX", value_parser = only)]
    pub only: Option<Only>,
    /// Fields of the rows to ignore, separated by commas
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Names of the rows' fields: NAME=FIELD, separated by commas, as in
    /// prompt=dialogue,completion=summary
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = data::column)]
    pub columns: Vec<(String, String)>,
}

impl RowArgs {
    pub(crate) fn options(&self, train_on: TrainOn) -> Result<ReadOptions> {
        Ok(ReadOptions {
            format: self.format,
            ignore: self.ignore.clone(),
            columns: data::columns(&self.columns)?,
            train_on,
            drops_tools: false,
        })
    }
}

/// The paths, each once.
pub(crate) fn data_path(paths: &[String]) -> Result<DataPath> {
    let list = Value::from(paths.to_vec());
    serde_json::from_value(list).map_err(|e| anyhow!("{e}"))
}

fn format(text: &str) -> Result<Format, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

fn only(text: &str) -> Result<Only, String> {
    Only::try_from(text.to_string())
}
