//! Everything that scores a response: the trained reward model, BLEU, ROUGE, rules, external
//! programs and servers, and weighted sums of them. Knows no policies.

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
mod shared;
mod source;

pub use artefact::{BATCH_TOKENS, RewardModel};
pub use bleu::{corpus_bleu, sentence_bleu, tokenize_13a};
pub use config::{SourceConfig, check, is_useless, needs_model, needs_reference};
pub use format::Format;
pub use item::Item;
pub use kind::{Bleu, Http, KINDS, Kind, Model, Process, Rouge};
pub use length::{Length, Unit};
pub use mixture::{Mixture, Readings, Scored};
pub use porter::stem;
pub use rouge::{rouge_l, rouge_lsum, rouge_n};
pub use shared::{Normalise, Shared};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings, files or responses that cannot be used
    #[error("{0}")]
    Input(String),
    /// A program or server that gave no valid answer after all retries
    #[error("{0}")]
    External(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    CausalLm(#[from] models::Error),
}
