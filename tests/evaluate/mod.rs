//! The `evaluate` crate: files, statistics, the judge, and every command on runs of a small random
//! model.

mod answers;
mod compare;
mod files;
mod judge;
mod judge_server;
mod judged_files;
mod merge;
mod overwrite;
mod recorded;
mod score;
mod tables;
mod verdicts;
mod world;
