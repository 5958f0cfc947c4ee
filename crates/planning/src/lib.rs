//! Predicts what a run will take before a weight is read: memory by phase, disk, steps, tokens and
//! learning rates. A run starts from the same prediction, which chooses how many layers it
//! checkpoints. Knows sizes only: what a stage reads, trains and samples is the stage's own.
//!
//! A stage turns its rows into sizes ([`RowSize`]), [`Forwards`] walks the loop's own batches over
//! them, and the stage fills a [`Workload`]. Memory ([`Estimate`]), disk ([`Disk`]) and the choice
//! of checkpointed layers ([`Plan`]) follow from that.

mod budget;
mod disk;
mod estimate;
mod fit;
mod forwards;
mod oom;
mod plan;
mod rows;
mod sampling;
mod text;
mod workload;

pub use budget::{check_limits, fewest_layers};
pub use disk::Disk;
pub use estimate::Estimate;
pub use forwards::{Cut, Forwards, Group, Unit, batches, largest_micro_batch};
pub use oom::is_out_of_memory;
pub use plan::{Plan, explain_untrained_source, n_times};
pub use rows::{Forward, RowSize};
pub use sampling::Sampling;
pub use workload::{Certainty, Graph, LearningRate, Scoring, Workload};
