//! `data.columns` as an option of a command line: `--columns prompt=dialogue,completion=summary`.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// The name that readers know, and the file's, of `OURS=THEIRS`. The error follows the option's
/// value.
///
/// ```
/// let (ours, theirs) = data::column("prompt=a = b").unwrap();
/// assert_eq!((ours.as_str(), theirs.as_str()), ("prompt", "a = b"));
/// assert!(data::column("dialogue").is_err());
/// ```
pub fn column(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
            Ok((ours.to_string(), theirs.to_string()))
        }
        _ => Err(Error(
            "expected NAME=FIELD, as in prompt=dialogue: the name that is known, and the field of \
             the file"
                .to_string(),
        )),
    }
}

/// `data.columns` of several [`column()`]s.
///
/// Errors: a name is given twice.
pub fn columns(given: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut columns = BTreeMap::new();
    for (ours, theirs) in given {
        if let Some(first) = columns.insert(ours.clone(), theirs.clone()) {
            return Err(Error(format!(
                "--columns reads {ours:?} from {first:?} and from {theirs:?}; give one of them"
            )));
        }
    }
    Ok(columns)
}
