//! Predicts what a run will take, before a weight is read: memory by phase, disk, tokens, steps and learning rates.

pub mod memory;
pub mod plan;
