//! Files of the data set in memory, and the random streams they are drawn from.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng as Rng;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One file of the data set.
pub struct File {
    /// The name in `data/tiny`.
    pub name: &'static str,
    /// Its rows.
    pub rows: usize,
    /// Its content.
    pub text: String,
}

/// The random stream of a purpose. Purposes are part of the data's format.
pub(crate) fn stream(seed: u64, purpose: &str) -> Rng {
    let mut key = Sha256::new();
    key.update(seed.to_le_bytes());
    key.update(purpose);
    Rng::from_seed(key.finalize().into())
}

/// A JSON array, one row per line.
pub(crate) fn array(name: &'static str, rows: Vec<Value>) -> File {
    let lines: Vec<String> = rows.iter().map(|r| format!("  {r}")).collect();
    File {
        name,
        rows: rows.len(),
        text: format!("[\n{}\n]\n", lines.join(",\n")),
    }
}

/// JSON Lines.
pub(crate) fn lines(name: &'static str, rows: Vec<Value>) -> File {
    File {
        name,
        rows: rows.len(),
        text: rows.iter().map(|r| format!("{r}\n")).collect(),
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
