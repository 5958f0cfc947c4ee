//! The hash of a file's content, as the hub's lists of files give it: SHA-256 of large files, git's
//! own of the others. A list that gives none, or another kind, says nothing.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::path::Path;

/// What a file should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHash {
    kind: Kind,
    /// In hexadecimal, small letters
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sha256,
    /// SHA-1 of `blob LENGTH`, a zero and the content
    GitBlob,
}

impl ContentHash {
    /// Of a file of the hub: `lfs_sha256` if it is large, else the id that git gives its content.
    /// None where that is no such hash.
    pub fn of_hub(lfs_sha256: Option<&str>, blob_id: Option<&str>) -> Option<Self> {
        let (kind, hex, n_digits) = match (lfs_sha256, blob_id) {
            (Some(hex), _) => (Kind::Sha256, hex, 64),
            (None, Some(hex)) => (Kind::GitBlob, hex, 40),
            (None, None) => return None,
        };
        let is_hash = hex.len() == n_digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| Self {
            kind,
            hex: hex.to_ascii_lowercase(),
        })
    }

    /// Says how the content of a file differs, in words that follow its name.
    pub(crate) fn mismatch(&self, file: &Path) -> io::Result<Option<String>> {
        let mut file = File::open(file)?;
        let (name, found) = match self.kind {
            Kind::Sha256 => {
                let mut hash = Sha256::new();
                io::copy(&mut file, &mut hash)?;
                ("SHA-256", hex(&hash.finalize()))
            }
            Kind::GitBlob => {
                let n_bytes = file.metadata()?.len();
                let mut hash = Sha1::new_with_prefix(format!("blob {n_bytes}\0"));
                io::copy(&mut file, &mut hash)?;
                ("git hash", hex(&hash.finalize()))
            }
        };
        let wanted = &self.hex;
        Ok((found != *wanted).then(|| {
            format!(
                "its {name} is {found}, and the hub's list of files says {wanted}; nothing was \
                 kept, run again"
            )
        }))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
