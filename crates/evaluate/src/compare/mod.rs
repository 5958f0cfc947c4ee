//! `wick compare`: several runs on the same held-out prompts (Table 3 of ESRL).

mod comparison;
mod config;
mod judged;
mod layout;
mod measure;
mod metrics;
mod plan;
mod report;

pub use comparison::{compare, compare_with};
pub use config::{CompareConfig, Oracle};
pub use metrics::Metric;
pub use report::{CompareReport, RewardNote, Row};
