//! `wick data`: what a file of training data holds (`inspect`), and its rows as JSON Lines
//! (`convert`).
//!
//! Rows are read by the very readers of the stages, and tokens made by their encoder; this crate
//! counts and shows. Memory does not grow with the length of the rows: lengths are kept as counts,
//! tokens are those of a sample, and of a row 16 bytes stay, to find repeated ones.

mod cli;
mod commands;
mod conversations;
mod convert;
mod convert_row;
mod examples;
mod examples_text;
mod fields;
mod files;
mod finish;
mod inspect;
mod item;
mod lengths;
mod lengths_text;
mod max_len;
mod out;
mod overlap;
mod page;
mod reasons;
mod refusal;
mod report;
mod row_args;
mod row_source;
mod safe_text;
mod shell;
mod stage;
mod stages_text;
mod survey;
mod text;
mod tokens;

pub use cli::{Command, DataCommand};
pub use conversations::ConversationFacts;
pub use convert::{ConvertCommand, Converted, To};
pub use examples::{ExampleView, Sequence};
pub use fields::Field;
pub use inspect::{Color, InspectCommand};
pub use lengths::{Bar, LengthFacts};
pub use overlap::OverlapFacts;
pub use reasons::Reason;
pub use report::{
    Duplicates, FileFacts, FormatFacts, HeldOut, LengthReport, Report, SourceFacts, StageFacts,
    TemplateFacts,
};
pub use row_args::RowArgs;
pub use stage::Stage;
