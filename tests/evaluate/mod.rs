//! The `evaluate` crate: files, statistics, the judge, and every command on runs of a small random
//! model.

mod answers;
mod columns;
mod compare;
mod files;
mod judge;
pub mod judge_server;
mod judged_files;
mod lists;
mod merge;
mod merged_files;
mod overwrite;
mod recorded;
mod said;
mod score;
mod tables;
mod verdicts;
mod world;
