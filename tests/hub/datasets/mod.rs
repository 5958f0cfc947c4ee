//! Data sets from the hub, against a local server that answers like it.

mod cache;
mod choice;
mod faults;
mod lists;
mod readme;
mod spec;

use hub::{DatasetFiles, DatasetSpec, HubSettings, Result, dataset_files};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use testkit::{Kind, MockHub};

const CONVERTED: &str = "refs/convert/parquet";

/// A hub with the data set `org/d`, and an empty cache.
struct World {
    mock: MockHub,
    repos: TempDir,
    cache: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            mock: MockHub::new(),
            repos: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// With these files on its main branch.
    fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        world.put("main", files);
        world
    }

    /// Adds files to a branch. A file's content is its text, or its path where that is empty.
    fn put(&self, revision: &str, files: &[(&str, &str)]) {
        let dir = self.repos.path().join(revision.replace('/', "%2F"));
        for (path, text) in files {
            let file = dir.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, if text.is_empty() { path } else { text }).unwrap();
        }
        self.mock.add(Kind::Dataset, "org/d", revision, &dir);
    }

    fn hub(&self) -> HubSettings {
        HubSettings {
            endpoint: self.mock.endpoint(),
            token: None,
            cache_dir: self.cache.path().to_path_buf(),
            offline: false,
            retry_wait: Duration::from_millis(1),
        }
    }

    fn offline(&self) -> HubSettings {
        HubSettings {
            offline: true,
            ..self.hub()
        }
    }

    fn get(&self, spec: &str) -> Result<DatasetFiles> {
        get(spec, &self.hub())
    }

    /// The directory of the data set in the cache.
    fn dir(&self) -> std::path::PathBuf {
        self.cache.path().join("datasets--org--d")
    }
}

fn get(spec: &str, hub: &HubSettings) -> Result<DatasetFiles> {
    dataset_files(&DatasetSpec::parse(spec).unwrap()?, hub)
}

/// The paths of the files in their repository.
fn paths(found: &DatasetFiles) -> Vec<String> {
    let in_snapshot = |file: &Path| {
        let text = file.to_str().unwrap().split_once("/snapshots/").unwrap().1;
        text.split_once('/').unwrap().1.to_string()
    };
    found.files.iter().map(|file| in_snapshot(file)).collect()
}

/// The error is one line with all of these parts.
#[track_caller]
fn says(result: Result<DatasetFiles>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    assert!(!text.contains('\n'), "more than a line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}
