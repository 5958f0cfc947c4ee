//! Anything that scores a response: trained model, BLEU, ROUGE, rules. No policies.
//! (skeleton; split: bleu.rs, rouge.rs, artefact.rs (the trained reward model on disk), normalise.rs)

mod artefact;

pub use artefact::RewardModel;

pub type Result<T> = std::result::Result<T, Error>;
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Llama(#[from] llama::Error),
}

/// sacreBLEU's sentence_bleu (13a, exp smoothing), 0..100.
pub fn sentence_bleu(_hypothesis: &str, _references: &[&str], _effective_order: bool) -> f64 {
    todo!()
}
/// rouge-score's ROUGE-L F1, 0..1.
pub fn rouge_l(_target: &str, _prediction: &str, _stem: bool) -> f64 {
    todo!()
}
