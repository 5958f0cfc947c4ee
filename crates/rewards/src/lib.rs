//! Anything that scores a response: trained model, BLEU, ROUGE, rules, external programs and servers, and weighted sums of
//! them. No policies.

mod artefact;
mod bleu;
mod config;
pub mod external;
mod format;
mod item;
mod kind;
mod length;
mod mixture;
mod moments;
mod porter;
mod rouge;
mod source;

pub use artefact::{BATCH_TOKENS, RewardModel};
pub use bleu::{corpus_bleu, sentence_bleu, tokenize_13a};
pub use config::{Normalise, Shared, SourceConfig, check, needs_model, needs_reference};
pub use format::Format;
pub use item::Item;
pub use kind::{Bleu, Http, KINDS, Kind, Model, Process, Rouge};
pub use length::{Length, Unit};
pub use mixture::{Mixture, Readings, Scored};
pub use porter::stem;
pub use rouge::{rouge_l, rouge_lsum, rouge_n};

pub type Result<T> = std::result::Result<T, Error>;
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Input(String),
    /// A program or server that gave no good answer, after all its retries.
    #[error("{0}")]
    External(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    CausalLm(#[from] models::Error),
}
