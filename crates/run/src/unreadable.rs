//! Why a file that a user named cannot be read.

use crate::suggest::nearest;
use std::io;
use std::path::{Path, PathBuf};

/// The error, and for a file that does not exist: where it was looked for, and the file in that
/// folder with one of the `endings` whose name is most like it.
pub fn why_unreadable(path: &Path, error: &io::Error, endings: &[&str]) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return error.to_string();
    }
    // relative to the current directory, which is not always the one the settings were written in
    let full = std::path::absolute(path)
        .ok()
        .filter(|_| path.is_relative());
    let place = full.map_or(String::new(), |full| {
        format!(" (looked for {})", full.display())
    });
    let near = similar_file(path, endings).map_or(String::new(), |near| {
        format!("; did you mean {}?", near.display())
    });
    format!("{error}{place}{near}")
}

/// The file in the same folder with the most similar name.
fn similar_file(path: &Path, endings: &[&str]) -> Option<PathBuf> {
    let wrong = path.file_name()?.to_str()?;
    let folder = path.parent()?;
    let listed = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = std::fs::read_dir(listed)
        .ok()?
        .filter_map(|entry| entry.ok());
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| endings.contains(&name.rsplit('.').next().unwrap_or_default());
    let mut names: Vec<String> = names.filter(fits).collect();
    names.sort();
    let stem = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let same_stem = names.iter().find(|name| stem(name) == stem(wrong));
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = same_stem
        .map(String::as_str)
        .or_else(|| nearest(wrong, &known));
    near.map(|near| folder.join(near))
}
