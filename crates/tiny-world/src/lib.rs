//! The tiny world: a small language of tasks, the oracle that grades any answer in it, and the
//! files of `data/tiny`. It needs no model; `sft` trains the base model on this crate's text.

pub mod cli;
pub mod datasets;
mod family;
mod files;
pub mod generator;
pub mod language;
mod mix;
mod oracle;
pub mod recipes;
mod task;
pub mod tasks;
pub mod tokenizer;
mod weights;

pub use family::{Family, Judge, Question, Sort};
pub use files::File;
pub use mix::mix;
pub use oracle::{Grade, grade, grade_task};
pub use task::Task;
