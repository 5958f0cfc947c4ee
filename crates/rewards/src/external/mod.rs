//! Talking to what is not ours: a program that speaks JSON lines ([`Program`]) and a web server ([`Endpoint`]). Both are asked
//! with a deadline and again when they fail; what is asked, and what a good answer is, the caller says.

mod child;
mod endpoint;
mod program;
mod scores;

pub use endpoint::{Endpoint, Failure, Secret};
pub use program::{Program, RetryPolicy};
pub(crate) use scores::request;
pub use scores::{read_reply, scores_of};
