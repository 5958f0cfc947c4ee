//! The stages end to end, through the functions that their command lines call.

mod advice;
mod answer_ends;
mod bad_data;
mod bad_input;
mod base_weights;
mod clauses;
mod counted;
mod cuda;
mod data_rules;
mod inputs;
mod memory;
mod outcomes;
mod plan;
mod pool;
mod recipes_7b;
mod replay;
mod rewards;
mod same;
mod sampling_weights;
mod sequence;
mod settings_in_use;
mod stage_end;
mod stages;
mod template_date;
mod tripwires;
mod two_stage_gradient;
pub mod world;
