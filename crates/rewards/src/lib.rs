//! Anything that scores a response: trained model, BLEU, ROUGE, rules. No policies.
//! (skeleton; split: bleu.rs, rouge.rs, artefact.rs (the trained reward model on disk), normalise.rs)

use std::path::Path;

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

/// A trained reward model: one directory with adapter (PEFT), head.safetensors, reward.json (template, EOS rule, mean and
/// std on SFT samples, base fingerprint, golden rows with scores) and tokenizer.json. Golden scores are checked at load.
pub struct RewardModel {
    pub mean: f64,
    pub std: f64,
}
impl RewardModel {
    pub fn load(_dir: &Path, _model: &llama::Llama) -> Result<Self> {
        todo!()
    }
    /// Raw scores at the last token of each sequence of ids (prompt + response), batched by token budget, no graph.
    pub fn score(&self, _model: &llama::Llama, _rows: &[&[u32]]) -> Result<Vec<f32>> {
        todo!()
    }
    /// (raw - mean) / std
    pub fn normalised(&self, raw: f32) -> f32 {
        ((raw as f64 - self.mean) / self.std) as f32
    }
}
