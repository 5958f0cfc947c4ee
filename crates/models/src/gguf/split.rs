//! A model in several GGUF files, as llama.cpp's `gguf-split` writes them:
//! `name-00001-of-00003.gguf` and so on. The first has the metadata.

use super::metadata::Metadata;
use super::part::Part;
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The files after the first of a split model, in order; none of a model in one file.
pub(super) fn others(first: &Part) -> Result<Vec<Part>> {
    let meta = Metadata {
        path: &first.path,
        content: &first.content,
    };
    let count = meta.uint("split.count")?.unwrap_or(1);
    if count <= 1 {
        return Ok(Vec::new());
    }
    let name_of = |number| named(&first.path, number, count);
    match meta.uint("split.no")?.unwrap_or(0) {
        0 => {}
        number => {
            let what = format!("is part {} of {count} of a model", number + 1);
            return Err(Error::at(
                &first.path,
                match name_of(1) {
                    Some(path) => format!("{what}; give the first, {}", path.display()),
                    None => format!("{what}; give the first"),
                },
            ));
        }
    }
    let mut parts = Vec::new();
    for number in 2..=count {
        let path = name_of(number).ok_or_else(|| {
            Error::at(
                &first.path,
                format!(
                    "is part 1 of {count}, but its name does not end in -00001-of-{count:05}.gguf, so \
                     the others cannot be found"
                ),
            )
        })?;
        if std::fs::symlink_metadata(&path).is_err() {
            let what = format!("part {number} of {count} is missing; put it beside the first");
            return Err(Error::at(&path, what));
        }
        let part = Part::open(&path)?;
        let meta = Metadata {
            path: &path,
            content: &part.content,
        };
        let found = (meta.uint("split.no")?, meta.uint("split.count")?);
        if found != (Some(number - 1), Some(count)) {
            let what = format!("is not part {number} of {count}, though its name says so");
            return Err(Error::at(&path, what));
        }
        parts.push(part);
    }
    check_tensors(first, &parts, meta.uint("split.tensors.count")?)?;
    Ok(parts)
}

fn check_tensors(first: &Part, others: &[Part], declared: Option<u64>) -> Result<()> {
    let mut seen: HashSet<&str> = HashSet::new();
    for part in [first].into_iter().chain(others) {
        for name in part.content.tensor_infos.keys() {
            if !seen.insert(name) {
                let what = format!("tensor {name} is in another part, too");
                return Err(Error::at(&part.path, what));
            }
        }
    }
    match declared {
        Some(n) if n != seen.len() as u64 => Err(Error::at(
            &first.path,
            format!(
                "split.tensors.count is {n}, but the parts have {} tensors",
                seen.len()
            ),
        )),
        _ => Ok(()),
    }
}

/// The path of part `number` of `count`, from that of any part.
fn named(path: &Path, number: u64, count: u64) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let start = name.strip_suffix(&format!("-of-{count:05}"))?;
    let (start, digits) = start.rsplit_once('-')?;
    let is_number = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
    let name = format!("{start}-{number:05}-of-{count:05}.gguf");
    is_number.then(|| path.with_file_name(name))
}
