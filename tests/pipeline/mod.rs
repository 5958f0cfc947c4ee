//! The stages from end to end, through the functions their command lines call.

mod bad_input;
mod clauses;
mod memory;
mod plan;
mod pool;
mod replay;
mod rewards;
mod same;
mod sampling_weights;
mod stages;
mod tripwires;
pub mod world;
