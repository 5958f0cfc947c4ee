//! External programs that speak JSON lines ([`Program`]) and web servers ([`Endpoint`]). Both have
//! timeouts and retries. The caller decides what to ask and what a valid answer is.

mod child;
mod descendants;
mod endpoint;
mod foreign_text;
mod program;
mod scores;
mod watchdog;

pub use endpoint::{Endpoint, Failure, Secret};
pub use program::{Program, RetryPolicy};
pub(crate) use scores::request;
pub use scores::{read_reply, scores_of};
