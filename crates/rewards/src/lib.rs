//! Anything that scores a response: trained model, BLEU, ROUGE, rules. No policies.

mod artefact;
mod bleu;
pub mod external;
mod porter;
mod rouge;

pub use artefact::RewardModel;
pub use bleu::{sentence_bleu, tokenize_13a};
pub use porter::stem;
pub use rouge::rouge_l;

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
    Llama(#[from] llama::Error),
}
