//! The origin of a run: command, version, commit, machine, date. Never the values of environment
//! variables.

use crate::command_line::argv;
use crate::files::file_hash;
use crate::time_format::rfc3339;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// The first content of run.json.
pub(crate) fn collect(stage: &str) -> Map<String, Value> {
    let facts = json!({
        "stage": stage,
        "status": "running",
        "started": rfc3339(SystemTime::now()),
        "argv": argv(),
        "version": env!("CARGO_PKG_VERSION"),
        "git_commit": commit_of_binary(),
        "machine": {
            "cpu": cpu_model(),
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "os": os(),
        },
    });
    match facts {
        Value::Object(map) => map,
        _ => unreachable!("json! of braces is an object"),
    }
}

/// This binary: version, the commit checked out beside it, and the hash of its file.
pub(crate) fn binary() -> Map<String, Value> {
    static HASH: OnceLock<Option<String>> = OnceLock::new();
    let hash = HASH.get_or_init(|| file_hash(&std::env::current_exe().ok()?).ok());
    Map::from_iter([
        ("version".to_string(), env!("CARGO_PKG_VERSION").into()),
        ("git_commit".to_string(), commit_of_binary().into()),
        ("binary_sha256".to_string(), hash.clone().into()),
    ])
}

fn commit_of_binary() -> Option<String> {
    git_commit(&std::env::current_exe().ok()?)
}

/// The commit checked out in the git work tree that contains `inside` (a file or directory), read
/// from .git without running git.
pub fn git_commit(inside: &Path) -> Option<String> {
    let dot_git = inside
        .ancestors()
        .map(|dir| dir.join(".git"))
        .find(|p| p.exists())?;
    let git = match std::fs::read_to_string(&dot_git) {
        Ok(link) => dot_git.parent()?.join(link.strip_prefix("gitdir:")?.trim()), // a linked work tree
        Err(_) => dot_git,
    };
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.strip_prefix("ref:").map(str::trim) else {
        return Some(head.trim().to_string());
    };
    let common: PathBuf = match std::fs::read_to_string(git.join("commondir")) {
        Ok(dir) => git.join(dir.trim()),
        Err(_) => git.clone(),
    };
    let loose = [&git, &common]
        .into_iter()
        .find_map(|dir| std::fs::read_to_string(dir.join(reference)).ok());
    loose.map(|commit| commit.trim().to_string()).or_else(|| {
        let packed = std::fs::read_to_string(common.join("packed-refs")).ok()?;
        let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(_, name)| *name == reference)
            .map(|(commit, _)| commit.to_string())
    })
}

/// The CPU's model name; `None` if /proc/cpuinfo has none.
pub fn cpu_model() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn os() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        kernel.trim()
    )
    .trim_end()
    .to_string()
}
