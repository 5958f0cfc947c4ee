//! The one integration binary: a module per area.

mod common;

mod algorithms;
mod architecture;
mod base_weights;
mod checkpointing;
mod clauses;
mod cuda;
mod data;
mod docs;
mod evaluate;
mod external_rewards;
mod generation;
mod hostile;
mod hub;
mod import_cycles;
mod machine;
mod methods;
mod metrics;
mod model_files;
mod model_meta;
mod models;
mod old_runs;
mod ops;
mod pipeline;
mod reward_sources;
mod rewards;
mod run;
mod run_parts;
mod settings;
mod source_style;
mod tiny_world;
mod train;
mod two_stage;
mod watch;
mod wick;
