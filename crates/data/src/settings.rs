//! `[data]` of the stages that train on the rows of a file: sft and reward-model.

use crate::{
    DataFiles, Error, Format, Loaded, Only, Prompt, ReadOptions, Result, TooLong, report_shared,
    split_by_key,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rows to train on and those to evaluate on. `HELD_OUT` is the default of `held_out`, percent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsConfig<const HELD_OUT: u8> {
    pub path: PathBuf,
    #[serde(default)]
    pub format: Format,
    /// Rows for evaluation; without it a share of the prompts of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    /// Share of prompts (never rows) held out if there is no `eval_path`
    #[serde(default = "percent::<HELD_OUT>")]
    pub held_out: f64,
    /// The most tokens of prompt, response and EOS
    #[serde(default = "max_len")]
    pub max_len: usize,
    /// How longer rows are handled: `drop` (counted), `truncate_response`, `error`
    #[serde(default)]
    pub too_long: TooLong,
    /// Keep only the rows whose instruction matches this regular expression; the others are counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Fields of the rows to ignore; any other unused field is reported
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
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

/// The rows of a stage.
pub struct Rows<T> {
    pub train: Vec<T>,
    pub held_out: Vec<T>,
    /// Held-out prompts that are training prompts, too
    pub n_shared: usize,
    /// The files that were read
    pub files: DataFiles,
}

impl<const HELD_OUT: u8> RowsConfig<HELD_OUT> {
    /// Fails if no row could be trained on, or a row could have no response.
    pub fn check(&self) -> Result<()> {
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

    /// Reads the rows with `source` and holds some out. Reports what was read on stderr.
    pub fn read<T>(
        &self,
        source: fn(&Path, ReadOptions) -> Result<Loaded<T>>,
        prompt: fn(&T) -> &Prompt,
        seed: u64,
    ) -> Result<Rows<T>> {
        let read = |path: &Path| {
            let options = ReadOptions {
                format: self.format,
                ignore: self.ignore.clone(),
            };
            let mut loaded = source(path, options)?.only(path, self.only.as_ref(), prompt)?;
            if self.too_long == TooLong::Error && loaded.n_too_big() > 0 {
                let (shown, n) = (path.display(), loaded.n_too_big());
                return Err(Error(format!(
                    "{shown}: {n} rows are longer than 16 MiB; remove them, or set data.too_long = \
                     \"drop\""
                )));
            }
            loaded.report(path);
            loaded.items.truncate(self.max_rows.unwrap_or(usize::MAX));
            let file = loaded.file(path);
            Ok((loaded.items, file))
        };
        let key = |row: &T| prompt(row).key();
        let (rows, train_file) = read(&self.path)?;
        let mut eval_file = None;
        let (train, mut held_out) = match &self.eval_path {
            Some(path) => {
                let (held_out, file) = read(path)?;
                eval_file = Some(file);
                (rows, held_out)
            }
            None => split_by_key(rows, key, self.held_out, seed),
        };
        held_out.truncate(self.max_eval_rows.unwrap_or(usize::MAX));
        let (keys, held_out_keys) = (train.iter().map(key), held_out.iter().map(key));
        let n_shared = report_shared(&self.path, keys, held_out_keys);
        let prompts = BTreeSet::from_iter(train.iter().map(key));
        Ok(Rows {
            train,
            held_out,
            n_shared,
            files: DataFiles {
                train: train_file,
                eval: eval_file,
                prompts: prompts.into_iter().collect(),
            },
        })
    }
}
