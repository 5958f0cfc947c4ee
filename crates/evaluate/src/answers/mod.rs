//! `wick answers`: a policy's answers to questions.

mod asked;
mod config;
mod drawing;
mod identity;

pub(crate) use asked::Asked;
pub use config::AnswersConfig;
pub(crate) use drawing::answer_into;
pub use drawing::{AnswersReport, answers};
pub(crate) use identity::Identity;
