//! Files by glob patterns, as the library `datasets` resolves them in a repository: hidden files,
//! folders that begin with `__`, and descriptions such as README.md are passed over unless the
//! pattern names them.

use crate::tree::{Tree, TreeFile};
use globset::{GlobBuilder, GlobMatcher};

/// Files that describe a data set.
const DESCRIPTIONS: [&str; 6] = [
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
];

/// The files that match a file's name, a folder's or a glob; `*` does not match a slash. The error
/// says what is wrong with the pattern.
pub(super) fn matching(tree: &Tree, pattern: &str) -> Result<Vec<TreeFile>, String> {
    let pattern = pattern.trim_end_matches('/');
    if let Some(file) = tree.get(pattern) {
        return Ok(vec![file.clone()]);
    }
    let in_folder = format!("{pattern}/");
    let files = tree.files.iter();
    let below: Vec<_> = files
        .filter(|f| f.path.starts_with(&in_folder))
        .cloned()
        .collect();
    if !below.is_empty() {
        let everything = format!("{pattern}/**");
        return Ok(below
            .into_iter()
            .filter(|f| is_data(&f.path, &everything))
            .collect());
    }
    let glob = glob(pattern)?;
    let files = tree
        .files
        .iter()
        .filter(|f| glob.is_match(&f.path) && is_data(&f.path, pattern));
    Ok(files.cloned().collect())
}

/// The files below a folder (empty: of the whole repository) that may be data.
pub(super) fn below(tree: &Tree, folder: &str) -> Vec<TreeFile> {
    let prefix = match folder {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let pattern = format!("{prefix}**");
    let files = tree.files.iter().filter(|f| f.path.starts_with(&prefix));
    files
        .filter(|f| is_data(&f.path, &pattern))
        .cloned()
        .collect()
}

fn glob(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|e| {
        let text = e.kind().to_string();
        format!("{pattern:?} is no pattern: {text}")
    })?;
    Ok(glob.compile_matcher())
}

/// Whether a file that matches a pattern is meant by it.
fn is_data(path: &str, pattern: &str) -> bool {
    let last = |path: &'_ str| path.rsplit('/').next().unwrap_or_default().to_string();
    let n_hidden = |path: &str| path.split('/').filter(|part| part.starts_with('.')).count();
    let n_special = |path: &str| {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder
            .split('/')
            .filter(|part| part.starts_with("__"))
            .count()
    };
    let name = last(path);
    let is_description = DESCRIPTIONS.contains(&name.as_str()) && last(pattern) != name;
    !is_description && n_hidden(path) == n_hidden(pattern) && n_special(path) == n_special(pattern)
}
