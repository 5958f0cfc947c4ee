//! The one integration binary: a module per area.

mod common;

mod architecture;
mod data;
mod docs;
mod encode;
mod evaluate;
mod generation;
mod rewards;
mod run;
mod run_parts;
mod settings;
mod train;
