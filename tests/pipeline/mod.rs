//! The stages from end to end, through the functions their command lines call.

mod bad_input;
mod rewards;
mod same;
mod stages;
mod world;
