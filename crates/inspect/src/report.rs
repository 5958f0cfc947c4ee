//! What `wick data inspect` found, as its `--json` prints it.

use crate::Stage;
use crate::conversations::ConversationFacts;
use crate::examples::ExampleView;
use crate::fields::Field;
use crate::lengths::{Bar, LengthFacts};
use crate::overlap::OverlapFacts;
use crate::reasons::Reason;
use data::TooLong;
use serde::Serialize;

/// A report. The keys of the JSON are these names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub paths: Vec<String>,
    pub files: Vec<FileFacts>,
    /// What was left out of directories
    pub notes: Vec<String>,
    /// Rows that were looked at
    pub rows: u64,
    /// Whether `--rows` left some out
    pub is_beginning: bool,
    /// The formats of the files; empty if none fits
    pub formats: Vec<FormatFacts>,
    /// None without a model
    pub template: Option<TemplateFacts>,
    /// Of `[[data.sources]]`, else empty
    pub mixture: Vec<SourceFacts>,
    /// The stage that the rest is about
    pub stage: Stage,
    pub stages: Vec<StageFacts>,
    pub fields: Vec<Field>,
    /// How often further names of fields were met
    pub further_fields: u64,
    pub duplicates: Duplicates,
    pub overlap: Option<OverlapFacts>,
    pub held_out: HeldOut,
    pub lengths: Option<LengthReport>,
    pub conversations: Option<ConversationFacts>,
    /// What the model's encoder has to say
    pub findings: Vec<String>,
    pub examples: Vec<ExampleView>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileFacts {
    pub path: String,
    /// `JSON Lines`, `parquet`, …; None: a pipe, or nothing that is read
    pub container: Option<String>,
    pub compression: Option<String>,
    pub bytes: Option<u64>,
    pub rows: u64,
    /// Why it cannot be read to its end
    pub error: Option<String>,
}

/// The format of the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatFacts {
    pub name: String,
    /// What its rows have
    pub fields: String,
    /// Whether `--format` named it
    pub is_given: bool,
    /// The fields of the first row that show it
    pub decided_by: Vec<String>,
    /// Files that have it, and the first of them
    pub files: u64,
    pub first_file: String,
}

/// The template that is put around prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TemplateFacts {
    pub name: &'static str,
    /// `run`, `model`, `given` (by `--template` or the config), or `default`: the model has none
    pub of: &'static str,
    /// What the stage would take without a setting, if that is another
    pub default: Option<&'static str>,
}

/// What an epoch takes of one of `[[data.sources]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceFacts {
    pub path: String,
    /// Records that are used, those that are held out included
    pub rows: u64,
    /// Records of an epoch
    pub visits: u64,
    /// Of all visits, 0 to 1
    pub share: f64,
}

/// What a stage would do with the files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageFacts {
    pub stage: Stage,
    /// Whether it would begin to train
    pub takes: bool,
    /// Records that it would use
    pub records: u64,
    /// Rows at which it would stop, by reason
    pub refused: Vec<Reason>,
    /// Rows that it would leave out, by reason
    pub dropped: Vec<Reason>,
    /// The command to run; None where it does not take them
    pub command: Option<String>,
}

/// Rows that are there more than once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Duplicates {
    /// Different prompts
    pub distinct_prompts: u64,
    /// Rows whose prompt an earlier row has
    pub repeated_prompts: u64,
    pub first_repeated_prompt: Option<String>,
    /// Rows that are the same as an earlier one in every field
    pub repeated_rows: u64,
    pub first_repeated_row: Option<String>,
}

/// The prompts that the stage holds out by default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    pub share: f64,
    pub prompts: u64,
}

/// Lengths of the records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthReport {
    /// `tokens`, or `characters` without a model
    pub unit: &'static str,
    /// Records that were counted, and all of them: more where it is a sample
    pub counted: u64,
    pub of: u64,
    pub prompt: Option<LengthFacts>,
    /// Of a pair both
    pub answer: Option<LengthFacts>,
    /// Prompt and answer; of a pair with the longer one. An answer inside a conversation that is
    /// learnt in a sequence of its own counts as one
    pub whole: Option<LengthFacts>,
    /// Of the whole
    pub histogram: Vec<Bar>,
    pub max_len: usize,
    /// Sequences of the whole that are longer; None without a model
    pub longer: Option<u64>,
    /// Records of which every sequence is longer
    pub records_longer: Option<u64>,
    /// Records of which some sequences are longer, and some are not
    pub records_partly_longer: Option<u64>,
    /// What becomes of longer ones
    pub too_long: TooLong,
}
