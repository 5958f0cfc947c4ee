//! The stages that train on data files, and which of them a file is for.

use data::{FieldUse, ReadOptions, Result, RowView, Taken};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::Path;

/// A stage that trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Takes demonstrations
    Sft,
    /// Takes pairs
    Rm,
    /// Takes prompts
    Rlhf,
}

/// Rows that decide which stage a file is for.
const LOOKED_AT: usize = 100;

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Sft, Self::Rm, Self::Rlhf];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Rm => "rm",
            Self::Rlhf => "rlhf",
        }
    }

    /// The template of a plain model where none is set. `own`: the one that the model resolves to.
    pub(crate) fn default_template(self, own: &'static str) -> &'static str {
        match self {
            Self::Sft => "alpaca",
            Self::Rm | Self::Rlhf => own,
        }
    }

    /// The setting that limits the tokens of a sequence.
    pub(crate) fn max_len_key(self) -> &'static str {
        match self {
            Self::Sft | Self::Rm => "data.max_len",
            Self::Rlhf => "data.max_prompt_len",
        }
    }

    /// What it takes.
    pub(crate) fn record(self) -> &'static str {
        match self {
            Self::Sft => "demonstration",
            Self::Rm => "pair",
            Self::Rlhf => "prompt",
        }
    }

    /// The share of prompts that it holds out by default.
    pub(crate) fn held_out(self) -> f64 {
        match self {
            Self::Sft | Self::Rlhf => 0.05,
            Self::Rm => 0.10,
        }
    }

    /// The stage that the files are for, by their first rows: rm if they are pairs, sft if there is
    /// a demonstration, else rlhf if there is a prompt. None: the rows cannot be read twice, since
    /// they come from a pipe, or there are none.
    ///
    /// Errors: a path names no files.
    pub(crate) fn of_files<'a>(
        places: impl Iterator<Item = (&'a Path, &'a ReadOptions)>,
    ) -> Result<Option<Self>> {
        let mut found = None;
        let mut n_left = LOOKED_AT;
        for (path, options) in places {
            let is_pipe = std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
            if is_pipe || n_left == 0 || matches!(found, Some(Self::Sft | Self::Rm)) {
                break;
            }
            data::each_row(path, options, &mut |row| {
                n_left -= 1;
                found = found.max_by_rank(Self::of_row(&row));
                Ok(
                    match n_left == 0 || matches!(found, Some(Self::Sft | Self::Rm)) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    },
                )
            })?;
        }
        Ok(found)
    }

    /// The stage that a row is for. None: no stage takes it.
    pub(crate) fn of_row(row: &RowView) -> Option<Self> {
        if row.preferences.format.is_some() {
            return Some(Self::Rm);
        }
        if !row.demonstrations.records.is_empty() {
            return Some(Self::Sft);
        }
        (!row.prompts.records.is_empty()).then_some(Self::Rlhf)
    }
}

/// The stage that more rows are for.
trait ByRank {
    fn max_by_rank(self, other: Self) -> Self;
}

impl ByRank for Option<Stage> {
    fn max_by_rank(self, other: Self) -> Self {
        match (self, other) {
            (Some(Stage::Rlhf) | None, Some(stage)) => Some(stage),
            (known, _) => known,
        }
    }
}

/// Parts of what a stage takes of a row that do not depend on the kind of record.
pub(crate) struct Outcome<'a> {
    pub format: Option<(&'static str, &'static str)>,
    pub dropped: &'a [String],
    pub refused: Option<&'a str>,
    pub fields: &'a [(String, FieldUse)],
}

impl<'a, T> From<&'a Taken<T>> for Outcome<'a> {
    fn from(taken: &'a Taken<T>) -> Self {
        Self {
            format: taken.format,
            dropped: &taken.dropped,
            refused: taken.refused.as_deref(),
            fields: &taken.fields,
        }
    }
}
