//! Training data: records, dataset formats (one file each), templates, tokenising, the split by
//! prompt and the resumable loader. Knows no models and no tensors. Sequences are never padded.

mod answer;
mod cache;
mod clauses;
mod clock;
mod column_option;
mod conversation;
mod detokenise;
mod ended;
mod error;
mod example;
mod files;
mod findings;
mod fit;
mod jinja;
mod loader;
mod marks;
mod mixture;
mod only;
mod origin;
mod path;
mod pieces;
mod prepare;
mod record;
mod rendered;
mod settings;
mod source;
mod sources;
mod special_texts;
mod split;
mod store;
mod template;
mod tokenise;
mod tools;

pub use cache::cache_dir;
pub use clauses::{clause_starts, clause_tokens};
pub use clock::{template_now, template_time};
pub use column_option::{column, columns};
pub use conversation::TrainOn;
pub use error::{Error, Result};
pub use example::Example;
pub use files::{DataFile, DataFiles};
pub use fit::{FitCounts, Limits, LostEnds, TooLong};
pub use loader::{Cursor, Loader};
pub use mixture::Mixture;
pub use only::Only;
pub use origin::Origin;
pub use path::DataPath;
pub use pieces::Piece;
pub use prepare::{Encode, Look, PreparedRows, Preparing};
pub use record::{Ask, Demonstration, Message, Preference, Prompt};
pub use settings::{EVAL_PATH_INSTEAD, RowsConfig, check_rows, few_held_out, memory_mb};
pub use source::{
    Counts, FieldUse, FileRows, Format, Loaded, PathRows, ReadOptions, Record, RowPrompt, RowView,
    StageNotes, Taken, demonstrations, each_prompt_once, each_row, for_each, preferences, prompts,
    prompts_by_row, unused_fields,
};
pub use sources::{DataSet, ReadSources, Selection, distinct_files, report_mixture};
pub use split::{held_out_keys, n_held_out, shared_note, split_by_key};
pub use store::{Examples, Row, Shape};
pub use template::Template;
pub use tokenise::{Encoder, Ends};
