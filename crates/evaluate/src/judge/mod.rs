//! A language model as judge of answers (Zheng et al. 2023): a rating from 1 to 10 for each answer,
//! summed, and pairs judged in both orders.
//!
//! Failures (no reply, or one without a verdict) are counted and never scored.

mod cache;
mod client;
mod command;
mod prompt;
mod scoring;
mod verdict;

pub use client::JudgeConfig;
pub use command::{JudgeCommand, JudgeReport, JudgeRow, judge, judge_with, markdown};
pub use rewards::external::Secret;
pub use scoring::{Judge, Pairs, Total};
pub use verdict::{Better, better, rating};
