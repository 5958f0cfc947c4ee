//! Each method against its paper and against losses and gradients of independent programs. The
//! contract tests are in tests/algorithms.

mod ma_ppo;
mod offline;
mod on_policy;
