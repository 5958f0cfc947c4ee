//! Small files of a model directory, read whole: JSON and templates. A pipe, a device or a file of
//! an absurd size is refused before a byte is read.

use crate::{Error, Result};
use serde_json::Value;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;
use strict_json::StrictValue;

/// The largest tokenizers have 35 MB.
pub(crate) const MAX_BYTES: u64 = 128 << 20;

/// Whether a file exists. One that exists and cannot be read is an error: it is not missing.
pub(crate) fn is_there(file: &Path) -> Result<bool> {
    Ok(metadata(file)?.is_some())
}

fn metadata(file: &Path) -> Result<Option<Metadata>> {
    let metadata = match std::fs::metadata(file) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return match file.symlink_metadata() {
                Ok(_) => Err(Error::at(file, "is a link to a file that does not exist")),
                Err(_) => Ok(None),
            };
        }
        other => other.map_err(Error::io(file))?,
    };
    match metadata.is_file() {
        true => Ok(Some(metadata)),
        false => Err(Error::at(file, "is not a regular file")),
    }
}

/// The bytes of a file; `None` if it does not exist.
pub(crate) fn read_bytes(file: &Path) -> Result<Option<Vec<u8>>> {
    let Some(metadata) = metadata(file)? else {
        return Ok(None);
    };
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
    text.map(|text| parse_json(file, text.as_bytes()))
        .transpose()
}

/// The JSON that a file holds. A key that is there twice is an error, as all that is no JSON.
pub(crate) fn parse_json(file: &Path, text: &[u8]) -> Result<Value> {
    match serde_json::from_slice(text) {
        Ok(StrictValue(value)) => Ok(value),
        Err(e) => Err(Error::at(file, strict_json::problem(&e))),
    }
}
