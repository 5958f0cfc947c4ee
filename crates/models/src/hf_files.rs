//! Small files of a model directory, read whole: JSON and templates. A pipe, a device or a file of
//! an absurd size is refused before a byte is read.

use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// The largest tokenizers have 35 MB.
const MAX_BYTES: u64 = 128 << 20;

/// The bytes of a file; `None` if it does not exist.
pub(crate) fn read_bytes(file: &Path) -> Result<Option<Vec<u8>>> {
    let metadata = match std::fs::metadata(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io(file))?,
    };
    if !metadata.is_file() {
        return Err(Error::at(file, "is not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        let mib = MAX_BYTES >> 20;
        return Err(Error::at(file, format!("is larger than {mib} MiB")));
    }
    std::fs::read(file).map(Some).map_err(Error::io(file))
}

/// A text, without a byte order mark; `None` if the file does not exist.
pub(crate) fn read_text(file: &Path) -> Result<Option<String>> {
    let Some(bytes) = read_bytes(file)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| Error::at(file, "is not UTF-8"))?;
    Ok(Some(text.trim_start_matches('\u{feff}').to_string()))
}

/// A JSON file; `None` if it does not exist.
pub(crate) fn read_json(file: &Path) -> Result<Option<Value>> {
    let text = read_text(file)?;
    let parsed = text.map(|text| serde_json::from_str(&text));
    parsed
        .transpose()
        .map_err(|e| Error::at(file, format!("not JSON: {e}")))
}
