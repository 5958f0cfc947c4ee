//! Named random streams: every random draw in the project comes from a stream keyed by (seed,
//! purpose, step, row). So a result does not depend on threads, on draws elsewhere, or on resuming.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The random stream of (seed, purpose, step, row), the only source of randomness.
///
/// ChaCha8 whose key is the SHA-256 of
/// `seed u64 LE ‖ byte length of purpose u64 LE ‖ purpose (UTF-8) ‖ step u64 LE ‖ row u64 LE`.
///
/// ```
/// use rand::RngCore;
/// let mut rng = run::stream(1, "sample", 2, 3);
/// assert_eq!(rng.next_u32(), 0x3aa9_13d3);
/// assert_eq!(run::stream(1, "sample", 2, 3).next_u32(), 0x3aa9_13d3, "the same key again");
/// assert_ne!(run::stream(1, "sample", 2, 4).next_u32(), 0x3aa9_13d3, "another row");
/// ```
pub fn stream(seed: u64, purpose: &str, step: u64, row: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose.as_bytes());
    hash.update(step.to_le_bytes());
    hash.update(row.to_le_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// One number of the stream (seed, purpose, 0, 0), for what is keyed by a number of its own.
pub fn stream_key(seed: u64, purpose: &str) -> u64 {
    stream(seed, purpose, 0, 0).next_u64()
}
