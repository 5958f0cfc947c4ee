//! A small language with checkable tasks, the oracle that grades any answer in it, and the files of `data/tiny`. No
//! tensors: the base model that speaks the language is trained by `sft` from this crate's text.

pub mod cli;
pub mod datasets;
pub mod generator;
pub mod language;
mod mix;
mod oracle;
pub mod recipes;
mod task;
pub mod tasks;
pub mod tokenizer;
mod weights;

pub use mix::mix;
pub use oracle::{Grade, grade, grade_task};
pub use task::{Family, Judge, Question, Sort, Task};
