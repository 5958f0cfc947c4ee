//! Test helpers: golden files, tolerances, gradient checks, TensorBoard files, a mock hub. Uses
//! none of the project's crates.

mod close;
mod golden;
mod gradient;
mod mock_hub;

pub use close::{assert_close, assert_close_slices, values};
pub use golden::{golden, golden_json, golden_tensors};
pub use gradient::{assert_gradient, assert_same, gradients, varied};
pub use mock_hub::{Asked, Fault, Kind, MockHub, Reply};

pub mod tensorboard;
