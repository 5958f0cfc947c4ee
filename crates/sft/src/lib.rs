//! Supervised fine-tuning: a base model and demonstrations in, a LoRA adapter (or a whole model)
//! out. The loss is the mean negative log-likelihood of response tokens and EOS.

mod cli;
mod config;
mod objective;
mod plan;
mod prepare;
mod training;

pub use cli::{Cli, print_plan};
pub use config::Config;
pub use plan::plan;
pub use training::run;
