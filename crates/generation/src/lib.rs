//! Batched decoding: shared prefixes, continuous batching, stop rules. It knows token ids only: no
//! graph, no text.

mod engine;
mod logits;
mod request;

pub use engine::Engine;
pub use logits::draw;
pub use ops::Drawn;
pub use request::{Finish, Request, Sample, Sampling};
