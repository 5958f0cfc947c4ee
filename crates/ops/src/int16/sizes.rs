//! The sizes that the parts of the product share.

/// Numbers of a block. 128 products of two integers of [`LARGEST`] fit 32 bits.
pub(super) const DEPTH: usize = 128;
/// The largest integer.
pub(super) const LARGEST: i32 = 4095;
/// Vectors in a row of a panel.
pub(super) const PANEL_VECTORS: usize = 3;
/// The most lanes of a vector.
pub(super) const MAX_LANES: usize = 16;
