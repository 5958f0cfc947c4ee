//! One run on disk: typed config, run directory, atomic checkpoints, metrics, progress, named random streams,
//! provenance. Knows nothing of models, nor what the tensors in a checkpoint mean.
//!
//! A run directory:
//! ```text
//! config.toml            the settings, resolved: every key
//! run.json               stage, status, argv, version, commit, machine, seconds, peak memory, what the stage records
//! metrics.jsonl          one row per logged step, timings.jsonl what a clock says of it; events.out.tfevents.*: both for TensorBoard
//! samples/step-000100.md
//! failed/step-000012.json the batch of a step that was refused
//! checkpoints/step-000100/{*.safetensors, state.json, SHA256SUMS}
//! adapter/ reward/ model/ the stage's result
//! ```

mod checkpoint;
mod cli;
mod clock;
mod config;
mod config_error;
mod directory;
mod files;
mod finished;
mod memory;
mod metrics;
mod progress;
mod provenance;
mod resume;
mod signals;
mod stream;
mod tensorboard;
mod verify;

pub use checkpoint::{Checkpoint, Damaged, RetentionPolicy, has_checkpoint, newest_whole};
pub use cli::{PlanArgs, RunArgs, Task, exit, main, one_line, print};
pub use clock::rfc3339;
pub use config::{from_table, load_config};
pub use config_error::nearest;
pub use directory::Run;
pub use files::{atomic_write, file_hash, free_space_bytes, hash, require_space};
pub use finished::{Finished, open_finished};
pub use memory::{measure_peak_by, peak_memory_bytes, resident_memory_bytes, usable_memory_bytes};
pub use metrics::{MetricsRow, is_timing, read_metrics};
pub use progress::Progress;
pub use provenance::{cpu_model, git_commit};
pub use signals::{stop_on_signals, stop_requested};
pub use stream::stream;
pub use tensorboard::events_up_to;
pub use verify::verify_resume;
