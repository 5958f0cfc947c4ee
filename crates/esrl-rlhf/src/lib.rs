//! RL and its offline relatives on a LoRA policy: any method of the registry. One frozen base
//! carries policy, reference, reward model and critic. `setup.rs` opens a run, `train_loop.rs`
//! takes its steps, and `rl_step.rs` is one step: sample → score → read → prepare → update. The
//! mathematics of a method is in `algorithms`.

mod checkpoint;
mod clauses;
mod cli;
mod config;
mod data;
mod evaluation;
mod explain;
mod failed;
mod inputs;
mod learner;
mod logp_source;
mod minibatches;
mod outcome;
mod plan;
mod pool;
mod prepare;
mod prompt_value;
mod read;
mod references;
mod replay;
mod rl_step;
mod roles;
mod row;
mod row_source;
mod sample;
mod samples_markdown;
mod score;
mod setup;
mod step_rows;
mod step_timer;
mod train_loop;
mod trainable;
mod update;
pub mod watch;

pub use cli::{Cli, print_plan};
pub use config::Config;
pub use explain::{explain, list};
pub use plan::plan;
pub use replay::{ReplayConfig, replay};
pub use train_loop::run;
