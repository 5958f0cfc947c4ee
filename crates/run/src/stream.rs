//! Randomness by name: every draw in the project comes from a stream keyed by (seed, purpose, step, row), so a result
//! does not depend on threads, on the order of draws elsewhere, or on whether the run was resumed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The only source of randomness: ChaCha8, its key the SHA-256 of
/// `seed u64 LE ‖ byte length of purpose u64 LE ‖ purpose (UTF-8) ‖ step u64 LE ‖ row u64 LE`.
pub fn stream(seed: u64, purpose: &str, step: u64, row: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose.as_bytes());
    hash.update(step.to_le_bytes());
    hash.update(row.to_le_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}
