//! Did the training work? Answers to question files, comparison of runs, scores on data, a judge, and merging an adapter
//! into a model for other tools. Trains nothing.

mod answers;
mod cli;
mod compare;
mod draw;
pub mod fastchat;
pub mod jsonl;
pub mod judge;
mod merge;
mod policies;
mod score;
pub mod stats;

pub use answers::{AnswersConfig, AnswersReport, answers};
pub use cli::Cli;
pub use compare::{CompareConfig, CompareReport, Oracle, RewardNote, Row, compare, compare_with};
pub use merge::{Dtype, MergeConfig, MergeReport, merge};
pub use score::{DemonstrationScores, PairScores, ScoreConfig, ScoreReport, score};

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
