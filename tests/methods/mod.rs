//! Each method's identities, and golden losses and gradients of independent programs. Contract tests are in algorithms.rs.

mod ma_ppo;
mod offline;
mod on_policy;
