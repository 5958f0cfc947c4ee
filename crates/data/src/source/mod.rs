//! Dataset formats: one file and one [`row::Source`] per format. A new format is a file, a variant
//! of [`Format`] and a line in [`SOURCES`]. `auto` takes the first source that fits the fields of
//! the first row.

mod alpaca;
mod answered;
mod arena;
mod by_row;
mod chat;
mod collector;
mod columns;
mod comparison;
mod each_row;
mod fastchat;
mod format;
mod hh;
mod items;
mod json_text;
mod kto;
mod load;
mod openai_preference;
mod pairs;
mod pandas;
mod prompt;
mod prompt_completion;
mod question_answer;
mod ranked;
mod read;
mod remarks;
mod row;
mod safe_rlhf;
mod scalar;
mod scored;
mod shp;
mod sniff;
mod speakers;
mod text;
mod tools;
mod transcript;
mod transcript_rows;
mod turns;
mod ultrafeedback;
mod unused;

use collector::{Collector, Want};
use row::Source;

pub use by_row::{RowPrompt, prompts_by_row};
pub use each_row::{FieldUse, FileRows, PathRows, RowView, StageNotes, Taken, each_row};
pub use format::{Format, ReadOptions};
pub use load::{Loaded, Record, demonstrations, each_prompt_once, for_each, preferences, prompts};
pub use read::Counts;
pub(crate) use read::{files_of, sha256_of};
pub use unused::unused_fields;

/// The registry. `auto` tries formats in this order, the more specific first.
const SOURCES: [&Source; 18] = [
    &comparison::V2,
    &comparison::V1,
    &ultrafeedback::SOURCE,
    &openai_preference::SOURCE,
    &safe_rlhf::SOURCE,
    &shp::SOURCE,
    &arena::SOURCE,
    &ranked::SOURCE,
    &alpaca::SOURCE,
    &pairs::SOURCE,
    &hh::SOURCE,
    &chat::SOURCE,
    &fastchat::SOURCE,
    &kto::SOURCE,
    &question_answer::SOURCE,
    &prompt_completion::SOURCE,
    &text::SOURCE,
    &transcript_rows::SOURCE,
];
