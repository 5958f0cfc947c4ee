//! Training data: records, dataset formats (one file each), templates, tokenising, the split by
//! prompt and the resumable loader. Knows no models and no tensors. Sequences are never padded.

mod answer;
mod clauses;
mod clock;
mod conversation;
mod detokenise;
mod ended;
mod error;
mod example;
mod findings;
mod fit;
mod jinja;
mod loader;
mod marks;
mod only;
mod origin;
mod record;
mod rendered;
mod settings;
mod source;
mod special_texts;
mod split;
mod template;
mod tokenise;

pub use clauses::{clause_starts, clause_tokens};
pub use clock::{template_now, template_time};
pub use conversation::TrainOn;
pub use error::{Error, Result};
pub use example::{Example, Ids};
pub use fit::{Fitted, LostEnds, TooLong, fit_groups_to_context, fit_to_context};
pub use loader::{Cursor, Loader};
pub use only::Only;
pub use origin::Origin;
pub use record::{Ask, Demonstration, Message, Preference, Prompt};
pub use settings::{EVAL_PATH_INSTEAD, Rows, RowsConfig, check_rows, few_held_out};
pub use source::{
    DataFile, DataFiles, Format, Loaded, ReadOptions, RowPrompt, demonstrations, each_prompt_once,
    preferences, prompts, prompts_by_row, unused_fields,
};
pub use split::{report_shared, split_by_key};
pub use template::Template;
pub use tokenise::{Encoder, Ends, check_labels};
