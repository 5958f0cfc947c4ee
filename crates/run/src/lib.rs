//! One run on disk: typed config, run directory, atomic checkpoints, metrics, progress, named
//! random streams, provenance. It knows nothing about models or the meaning of the tensors in a
//! checkpoint.
//!
//! A run directory:
//! ```text
//! config.toml             every setting, resolved
//! run.json                stage, status, command, version, machine, seconds, peak memory, facts,
//!                         hashes of the files beside it, and its own
//! metrics.jsonl           one row per logged step; the same bytes for the same settings
//! trained_prompts.bin     which prompts it was trained on, by their keys
//! timings.jsonl           wall-clock timings of those steps, checksums of both rows
//! events.out.tfevents.*   both for TensorBoard
//! samples/step-000100.md  readable samples
//! failed/step-000012.json the batch of a step that failed
//! checkpoints/step-000100/{*.safetensors, <result>.<file>, state.json, SHA256SUMS}
//! adapter/ best/ reward/ model/  the results of the stage, each with SHA256SUMS
//! ```

mod args;
mod checkpoint;
mod checkpoint_list;
mod command_line;
mod config;
mod config_error;
mod directory;
mod file_hashes;
mod files;
mod history;
mod memory;
mod metrics;
mod open;
mod outcome;
mod panics;
mod process;
mod progress;
mod provenance;
mod redact;
mod reopen;
mod results;
mod resume_settings;
mod rules;
mod run_info;
mod saved_run;
mod say;
mod signals;
mod stage_command;
mod stream;
mod suggest;
mod sums;
mod tensorboard;
mod time_format;
mod unreadable;
mod unused;
mod verify;
mod verify_compare;

pub use args::{PlanArgs, RunArgs};
pub use checkpoint::Checkpoint;
pub use checkpoint_list::{Damaged, RetentionPolicy, has_checkpoint, newest_intact};
pub use command_line::command;
pub use config::{from_table, load_config, settings_table};
pub use directory::Run;
pub use file_hashes::FileHashes;
pub use files::{
    HashingReader, Renames, Replace, atomic_write, ensure_new, file_hash, free_space_bytes, hash,
    or_force, put_in_place, require_space, write_text,
};
pub use history::SettingsAt;
pub use memory::{measure_peak_by, peak_memory_bytes, resident_memory_bytes, usable_memory_bytes};
pub use metrics::{MetricsRow, is_timing, read_metrics};
pub use outcome::{Curve, is_above, say_outcome};
pub use panics::catch_panic;
pub use process::{exit, main, one_line, parsed, print, print_to};
pub use progress::Progress;
pub use provenance::{cpu_model, git_commit};
pub use redact::{hide, redact};
pub use rules::{Rules, began_before};
pub use saved_run::{SavedRun, open_saved_run};
pub use say::{printable, say};
pub use signals::{StoppedBySignal, stop_on_signals, stop_requested};
pub use stage_command::StageArgs;
pub use stream::{stream, stream_key};
pub use suggest::{nearest, suggest};
pub use sums::{check_result, check_sums, write_sums};
pub use tensorboard::events_up_to;
pub use time_format::rfc3339;
pub use unreadable::why_unreadable;
pub use unused::UnusedSettings;
pub use verify::{shorter_cadence, verify_resume};
