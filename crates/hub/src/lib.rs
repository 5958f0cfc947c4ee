//! The Hugging Face hub: its cache, one file of a repository into it, and the files of a data set.
//! What is complete in the cache needs no network. Knows nothing about models and their files, and
//! does not read data.
//!
//! The cache has huggingface_hub's layout, so each can use what the other fetched.

mod cache;
mod client;
mod content_hash;
mod dataset;
mod disk;
mod error;
mod failure;
mod repository;
mod settings;
mod tree;

pub use cache::RepoCache;
pub use content_hash::ContentHash;
pub use dataset::{DatasetFiles, DatasetSpec, dataset_files};
pub use error::{Error, Result};
pub use failure::{Failure, Status};
pub use repository::{Expected, Repository};
pub use settings::HubSettings;
