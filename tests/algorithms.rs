//! The RL methods: contract tests over the registry, and PPO's and ESRL's own. Gradients are
//! checked in f64. The other methods' tests are in tests/methods.

pub mod bandit;
mod contract;
mod esrl;
mod esrl_equations;
mod estimators;
mod importance;
mod learning;
mod ppo;
mod settings;
pub mod support;
pub mod tabular;
mod tabular_losses;
pub mod variants;
