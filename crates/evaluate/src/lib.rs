//! Did the training work? Answers to question files, comparison of runs, scores on data, a judge, and merging an adapter
//! into a model for other tools. Trains nothing.

mod answers;
pub mod chart;
mod cli;
mod compare;
mod draw;
pub mod fastchat;
pub mod jsonl;
pub mod judge;
mod merge;
mod plot;
mod policies;
mod score;
mod seeds;
pub mod stats;

pub use answers::{AnswersConfig, AnswersReport, answers};
pub use cli::Cli;
pub use compare::{
    CompareConfig, CompareReport, Metric, Oracle, RewardNote, Row, compare, compare_with,
};
pub use merge::{Dtype, MergeConfig, MergeReport, merge};
pub use plot::{PlotConfig, plot};
pub use score::{DemonstrationScores, PairScores, ScoreConfig, ScoreReport, score};
pub use seeds::{TableConfig, table};

use std::path::Path;

/// The directory that `--out` goes into; it must be there before any work begins.
pub(crate) fn ensure_parent(out: &Path) -> anyhow::Result<&Path> {
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    anyhow::ensure!(
        parent.is_dir(),
        "{} does not exist; --out goes into it",
        parent.display()
    );
    Ok(parent)
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
