//! Evaluation: answers to question files, comparison of runs, scores on data, a language model as
//! judge, and merging an adapter into its base for other tools. Trains nothing.

mod answers;
pub mod chart;
mod cli;
mod compare;
mod draw;
pub mod fastchat;
mod given_once;
pub mod jsonl;
pub mod judge;
mod merge;
mod merged_template;
mod oracle;
mod output;
mod plot;
mod policies;
mod score;
mod seeds;
pub mod stats;
mod table;
mod trained_on;

pub use answers::{AnswersConfig, AnswersReport, answers};
pub use cli::{Cli, Command};
pub use compare::{
    CompareConfig, CompareReport, Metric, Oracle, RewardNote, Row, compare, compare_with,
};
pub use merge::{Dtype, MergeConfig, MergeReport, merge};
pub use plot::{PlotConfig, plot};
pub use score::{DemonstrationScores, PairScores, ScoreConfig, ScoreReport, score};
pub use table::{TableConfig, table};
