//! The data files that a path of the settings names: itself, the files of a directory, the matches
//! of a pattern.

use crate::error::{Result, file_error, unreadable};
use crate::names::{FileKind, ending, taken_endings};
use crate::split;
use std::path::{Path, PathBuf};

/// Files that lie beside data and describe them.
const METADATA: [&str; 10] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "croissant.json",
    "package.json",
    "license.txt",
    "readme.txt",
    "requirements.txt",
    "metadata.json",
];

/// Folders in folders.
const MAX_DEPTH: usize = 16;

/// The data files that a path names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataFileList {
    /// In the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What was left out and why, a line each.
    pub notes: Vec<String>,
}

/// The data files that a path of the settings names, in order: a file itself, whether it is there
/// or not; the data files below a directory, sorted by path; the matches of a pattern with `*`,
/// `?`, `[…]` or `**`, sorted. `DIRECTORY:SPLIT` names the files of one split by the names of files
/// and folders, unless a file or directory has that whole name. Of a directory, hidden files and
/// descriptions that are no data file by their ending are left out without a word, all others with
/// a note: descriptions such as `dataset_info.json`, other files, other splits.
///
/// Errors: a directory without data files, without those of the split, or of Arrow files, a pattern
/// that is malformed or matches nothing.
pub fn data_files(path: &Path) -> Result<DataFileList> {
    if path.is_dir() {
        return directory(path, None);
    }
    if let Some((path, split)) = split::named(path) {
        return directory(path, Some(split));
    }
    match path.to_str() {
        Some(pattern) if !path.exists() && pattern.contains(['*', '?', '[']) => {
            matches(path, pattern)
        }
        _ => Ok(DataFileList {
            files: vec![path.to_path_buf()],
            notes: Vec::new(),
        }),
    }
}

fn matches(path: &Path, pattern: &str) -> Result<DataFileList> {
    let no_pattern = |e: glob::PatternError| {
        file_error(path, format_args!("is not a pattern of files: {}", e.msg))
    };
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        case_sensitive: true,
    };
    let mut files = Vec::new();
    for found in glob::glob_with(pattern, options).map_err(no_pattern)? {
        let found = found.map_err(|e| unreadable(e.path(), e.error()))?;
        if !found.is_dir() {
            files.push(found);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(file_error(path, "the pattern matches no file")),
        false => Ok(DataFileList {
            files,
            notes: Vec::new(),
        }),
    }
}

/// Files of a model, and of a run: their JSON holds no rows.
const NO_DATA: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "adapter_config.json",
    "run.json",
    "model.safetensors",
];

fn directory(path: &Path, wanted: Option<&str>) -> Result<DataFileList> {
    if let Some(name) = NO_DATA.iter().find(|name| path.join(name).is_file()) {
        let what = format!("is a directory of a model or a run (it has {name}), not of data files");
        return Err(file_error(path, what));
    }
    let mut below = Below::default();
    below.add(path, 0)?;
    if below.files.is_empty() {
        let what = match below.arrow {
            Some(_) => "holds Arrow files, as `save_to_disk` writes them; export its rows in \
                        Python: `import datasets; d = datasets.load_from_disk(\"DIRECTORY\"); \
                        d.to_json(\"train.jsonl\")` (of one split, d[\"train\"])"
                .to_string(),
            None => format!("has no data files; their names end in {}", taken_endings()),
        };
        return Err(file_error(path, what));
    }
    let mut notes = Vec::new();
    let others = below.others.iter().chain(&below.arrow);
    let others: Vec<&PathBuf> = others.collect();
    if let Some(first) = others.first() {
        let first = shown(path, first);
        notes.push(match others.len() {
            1 => format!("1 file is left out, which is no data file by its ending: {first}"),
            n => format!(
                "{n} files are left out, which are no data files by their ending: {first}, …"
            ),
        });
    }
    if !below.metadata.is_empty() {
        let names = some_of(path, &below.metadata);
        notes.push(format!(
            "left out, as they describe data by their names: {names}"
        ));
    }
    below.files.sort();
    let (files, left_out) = match wanted {
        None => split::training_files(path, below.files),
        Some(wanted) => split::files_of(path, below.files, wanted)
            .map_err(|splits| file_error(path, no_split(wanted, &splits)))?,
    };
    if !left_out.is_empty() {
        let names = some_of(path, &left_out);
        let is_train = files.iter().any(|file| split::is_train(path, file));
        notes.push(match (wanted, is_train) {
            (Some(split), _) => {
                format!("only the files of the split {split} are read; left out: {names}")
            }
            (None, true) => {
                format!("only the files of the split train are read; left out: {names}")
            }
            (None, false) => format!(
                "left out, as they are of other splits than train by their names: {names}; to read \
                 them, name them"
            ),
        });
    }
    Ok(DataFileList { files, notes })
}

fn no_split(wanted: &str, splits: &[String]) -> String {
    let found = match splits {
        [] => "no name says a split; name a file".to_string(),
        splits => format!("the splits by their names are {}", splits.join(", ")),
    };
    format!("has no files of the split {wanted}; {found}")
}

/// The names of files below the directory; the first of a long list.
fn some_of(directory: &Path, files: &[PathBuf]) -> String {
    const MAX_SHOWN: usize = 8;
    let names: Vec<String> = files.iter().map(|file| shown(directory, file)).collect();
    match names.len().checked_sub(MAX_SHOWN) {
        None | Some(0) => names.join(", "),
        Some(n) => format!("{} and {n} more", names[..MAX_SHOWN].join(", ")),
    }
}

/// A file's path below the directory.
fn shown(directory: &Path, file: &Path) -> String {
    let below = file.strip_prefix(directory).unwrap_or(file);
    below.display().to_string()
}

/// The files below a directory.
#[derive(Default)]
struct Below {
    files: Vec<PathBuf>,
    /// The first Arrow file
    arrow: Option<PathBuf>,
    /// Files of other endings
    others: Vec<PathBuf>,
    /// Files of [`METADATA`]
    metadata: Vec<PathBuf>,
}

impl Below {
    fn add(&mut self, directory: &Path, depth: usize) -> Result<()> {
        let fail = |e: std::io::Error| unreadable(directory, &e);
        if depth > MAX_DEPTH {
            let what = format!("is more than {MAX_DEPTH} folders deep; name a folder below it");
            return Err(file_error(directory, what));
        }
        let entries = std::fs::read_dir(directory).map_err(fail)?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(fail)?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.to_ascii_lowercase();
            if name.starts_with('.') {
                continue;
            }
            let ending = ending(&path);
            if path.is_dir() {
                self.add(&path, depth + 1)?;
            } else if METADATA.contains(&name.as_str()) {
                self.metadata.push(path);
            } else if FileKind::of(&path).is_some() {
                self.files.push(path);
            } else if ending == "arrow" {
                self.arrow.get_or_insert(path);
            } else if !is_description(&name, &ending) {
                self.others.push(path);
            }
        }
        Ok(())
    }
}

/// Whether a file describes data, or the repository that they lie in.
fn is_description(name: &str, ending: &str) -> bool {
    matches!(ending, "md" | "yaml" | "yml" | "py" | "lock")
        || matches!(name, "license" | "readme" | "_success")
}
