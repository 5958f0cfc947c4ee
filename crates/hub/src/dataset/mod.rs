//! Data sets of the hub: which of a repository's files a name stands for, and those files in the
//! cache.

mod branch;
mod card;
mod choice;
mod converted;
mod explain;
mod fetch;
mod kind;
mod own_files;
mod patterns;
mod spec;
mod split_names;

pub use fetch::{DatasetFiles, dataset_files};
pub use spec::DatasetSpec;
