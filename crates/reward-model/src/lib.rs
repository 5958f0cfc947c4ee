//! Reward modelling: pairs of answers in, one artefact out that scores any answer (adapter, head,
//! template, EOS rule, normalisation, golden scores).

mod cli;
mod config;
mod objective;
mod pair;
mod plan;
mod prepare;
mod samples;
mod training;

pub use cli::{Cli, print_plan};
pub use config::Config;
pub use pair::{neg_log_sigmoid, ranked_right};
pub use plan::plan;
pub use training::run;
