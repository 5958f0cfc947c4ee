//! Predicts what a run will take before a weight is read: memory by phase, disk, steps, tokens and
//! learning rates. A run starts from the same prediction, which chooses how many layers it
//! checkpoints. Knows sizes only: what a stage reads, trains and samples is the stage's own.

mod batches;
mod budget;
mod disk;
mod estimate;
mod fit;
mod oom;
mod plan;
mod text;
mod workload;

pub use batches::{Batches, Forward, RowSize, largest_micro_batch, visit_batches};
pub use budget::{MemoryConfig, MemoryPlan, fewest_layers};
pub use disk::{Disk, adapter_bytes};
pub use estimate::Estimate;
pub use fit::FitStage;
pub use oom::is_out_of_memory;
pub use plan::{
    Certainty, LearningRate, Plan, Steps, Tokens, explain_untrained_source, n_times,
    tokenizer_bytes,
};
pub use workload::{SamplingMemory, ScoringMemory, Workload};
