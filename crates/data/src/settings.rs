//! `[data]` of the stages that train on the rows of a file: sft and reward-model.

use crate::{DataPath, DataSet, Error, Format, Limits, Only, Result, Selection, TooLong, TrainOn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rows to train on and those to evaluate on. `HELD_OUT` is the default of `held_out`, percent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsConfig<const HELD_OUT: u8> {
    /// A file, directory, pattern or `hub:org/name`, or a list of these
    #[serde(default)]
    pub path: DataPath,
    /// Several data sets to mix, instead of `path`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<DataSet>,
    #[serde(default)]
    pub format: Format,
    /// Rows for evaluation; without it a share of the prompts of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<DataPath>,
    /// Share of prompts (never rows) held out if there is no `eval_path`
    #[serde(default = "percent::<HELD_OUT>")]
    pub held_out: f64,
    /// Which answers of a conversation sft learns: `all`, `last`. Default: `all`, and `last` in a
    /// run that began before there was a choice
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_on: Option<TrainOn>,
    /// The most tokens of prompt, response and EOS
    #[serde(default = "max_len")]
    pub max_len: usize,
    /// How longer rows are handled: `drop` (counted), `truncate_response`, `error`
    #[serde(default)]
    pub too_long: TooLong,
    /// Keep only the rows whose instruction matches this regular expression; the others are counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// The file's names of our fields: `columns = { prompt = "question" }`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Fields of the rows to ignore; any other unused field is reported
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
    /// Rows that would take more memory than this, MB, are tokenised into the cache on disk
    #[serde(default = "memory_mb")]
    pub memory_mb: usize,
    /// Evaluate on the first held-out rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_eval_rows: Option<usize>,
}

fn percent<const N: u8>() -> f64 {
    f64::from(N) / 100.0
}

fn max_len() -> usize {
    512
}

/// The default of `data.memory_mb`.
pub fn memory_mb() -> usize {
    256
}

/// Why `data.held_out` is not used.
pub const EVAL_PATH_INSTEAD: &str = "the rows of data.eval_path are held out";

/// Fails if `data.held_out` or `data.max_rows` leaves no row to train on.
///
/// ```
/// assert!(data::check_rows(0.05, None).is_ok());
/// assert!(data::check_rows(1.0, None).is_err());
/// ```
pub fn check_rows(held_out: f64, max_rows: Option<usize>) -> Result<()> {
    if !(0.0..1.0).contains(&held_out) {
        return Err(Error(format!(
            "data.held_out = {held_out} is not in [0, 1)"
        )));
    }
    match max_rows {
        Some(0) => Err(Error("data.max_rows = 0 leaves nothing to train on".into())),
        _ => Ok(()),
    }
}

/// Fewer held-out rows than this say little.
const FEW_HELD_OUT: usize = 20;

/// A warning where so few rows (or prompts) are held out that the difference of two means over them
/// is noise. None held out is a choice, and no evaluation.
///
/// ```
/// assert!(data::few_held_out(6).unwrap().starts_with("held-out rows: only 6, "));
/// assert_eq!((data::few_held_out(0), data::few_held_out(20)), (None, None));
/// ```
pub fn few_held_out(n: usize) -> Option<String> {
    (1..FEW_HELD_OUT).contains(&n).then(|| {
        format!(
            "held-out rows: only {n}, and a difference between two means over so few is mostly noise; \
             hold out {FEW_HELD_OUT} or more (data.held_out, data.eval_path)"
        )
    })
}

impl<const HELD_OUT: u8> RowsConfig<HELD_OUT> {
    /// Fails if no row could be trained on, or a row could have no response.
    pub fn check(&self) -> Result<()> {
        self.selection().check()?;
        check_rows(self.held_out, self.max_rows)?;
        if self.max_eval_rows == Some(0) {
            return Err(Error(
                "data.max_eval_rows = 0 leaves nothing to evaluate on; to hold nothing out, set \
                 data.held_out = 0"
                    .into(),
            ));
        }
        match self.max_len {
            0 | 1 => Err(Error(format!(
                "data.max_len = {} leaves no room for a response",
                self.max_len
            ))),
            _ => Ok(()),
        }
    }

    /// Fails if rows of `max_len` tokens do not fit the model's context.
    pub fn check_context(&self, context: usize) -> Result<()> {
        match self.max_len > context {
            true => Err(Error(format!(
                "data.max_len = {} is more than the model's context of {context}; set \
                 data.max_len={context} or less",
                self.max_len
            ))),
            false => Ok(()),
        }
    }

    /// The most tokens of a row.
    pub fn limits(&self) -> Limits {
        Limits::of_rows(self.max_len, self.too_long)
    }

    /// The rows to train on.
    pub fn selection(&self) -> Selection<'_> {
        Selection {
            path: &self.path,
            sources: &self.sources,
            format: self.format,
            only: self.only.as_ref(),
            columns: &self.columns,
            ignore: &self.ignore,
            max_rows: self.max_rows,
            train_on: self.train_on.unwrap_or_default(),
            drops_tools: false,
        }
    }

    /// The settings without the paths, for what depends on the bytes of the files only.
    pub(crate) fn without_places(&self) -> Self {
        let without = |source: &DataSet| DataSet {
            path: DataPath::default(),
            ..source.clone()
        };
        Self {
            path: DataPath::default(),
            eval_path: None,
            sources: self.sources.iter().map(without).collect(),
            memory_mb: 0,
            ..self.clone()
        }
    }
}
