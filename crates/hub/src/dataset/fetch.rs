//! The files of a data set in the cache: found there, or chosen on the hub and fetched.

use super::branch::{Branch, Source};
use super::card::{self, Config};
use super::choice::{Choice, listed};
use super::converted::{self, CONVERTED};
use super::explain::explain;
use super::own_files;
use super::spec::DatasetSpec;
use crate::disk::require_space;
use crate::{Error, HubSettings, Result};
use std::path::PathBuf;

const MAIN: &str = "main";
const README: &str = "README.md";
/// Longer descriptions are refused.
const MAX_README_BYTES: u64 = 8 << 20;

/// The local files of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetFiles {
    /// In the hub's cache, in the order in which they are read.
    pub files: Vec<PathBuf>,
    /// One line each: revision, subset and split that were taken, and what was left out.
    pub notes: Vec<String>,
    /// The commit that the files are of.
    pub commit: String,
}

/// A choice in a revision.
struct Found {
    branch: Branch,
    choice: Choice,
}

/// The files that a name stands for. Fetches those that are not in the cache; a complete cache
/// needs no network.
///
/// Errors are one line: what does not exist, with what does; what the hub answers, and what to do.
pub fn dataset_files(spec: &DatasetSpec, hub: &HubSettings) -> Result<DatasetFiles> {
    if hub.offline {
        return of_cache(spec, hub);
    }
    if let Some(found) = whole_in_cache(spec, hub) {
        return Ok(local(&found, Source::Cache));
    }
    let Some(found) = find(spec, hub, Source::Hub)? else {
        let revision = spec.revision.as_deref().unwrap_or(MAIN);
        let at = hub.shown_endpoint();
        return Err(Error(format!(
            "{spec}: {at} answers 404: no revision {revision}"
        )));
    };
    fetch(spec, hub, &found)?;
    Ok(local(&found, Source::Hub))
}

/// What is chosen from the cache, if all of it is there and the hub was asked before what else
/// there is.
fn whole_in_cache(spec: &DatasetSpec, hub: &HubSettings) -> Option<Found> {
    let found = find(spec, hub, Source::Cache).ok()??;
    let is_whole = missing(&found).is_empty() && !found.branch.is_cached_part;
    is_whole.then_some(found)
}

fn of_cache(spec: &DatasetSpec, hub: &HubSettings) -> Result<DatasetFiles> {
    let dir = hub.cache_dir.display();
    let Some(found) = find(spec, hub, Source::Cache)? else {
        return Err(Error(format!(
            "{spec}: the data set{} is not in the cache {dir} and HF_HUB_OFFLINE is set",
            spec.revision
                .as_ref()
                .map_or(String::new(), |r| format!(" at revision {r}"))
        )));
    };
    let missing = missing(&found);
    if let Some(first) = missing.first() {
        let (n, of) = (missing.len(), found.choice.files.len());
        return Err(Error(format!(
            "{spec}: {n} of {of} files are not in the cache {dir} (first: {first}) and \
             HF_HUB_OFFLINE is set"
        )));
    }
    Ok(local(&found, Source::Cache))
}

/// The revision and files that a name stands for; None where there is no such revision in the
/// source.
fn find(spec: &DatasetSpec, hub: &HubSettings, source: Source) -> Result<Option<Found>> {
    let branch = |revision: &str| Branch::find(spec, hub, revision, source);
    if let Some(revision) = &spec.revision {
        return branch(revision)?
            .map(|branch| in_branch(spec, hub, source, branch))
            .transpose();
    }
    if spec.is_path {
        return branch(MAIN)?
            .map(|branch| in_branch(spec, hub, source, branch))
            .transpose();
    }
    let converted = branch(CONVERTED)?.filter(|b| !converted::subsets(&b.tree).is_empty());
    if let Some(converted) = converted {
        if let Some(choice) = converted::choose(spec, &converted.tree)? {
            return Ok(Some(Found {
                branch: converted,
                choice,
            }));
        }
        return beside_converted(spec, hub, source, &converted);
    }
    let Some(main) = branch(MAIN)? else {
        return Ok(None);
    };
    let cache = &main.repo.cache;
    if source == Source::Hub {
        let _ = cache.set_missing(&main.commit, CONVERTED);
    } else if !hub.offline && !cache.is_known_missing(&main.commit, CONVERTED) {
        return Ok(None);
    }
    in_branch(spec, hub, source, main).map(Some)
}

/// A name that is no subset of the parquet branch, but may be a folder or file of the main one.
fn beside_converted(
    spec: &DatasetSpec,
    hub: &HubSettings,
    source: Source,
    converted: &Branch,
) -> Result<Option<Found>> {
    let inside = spec.inside.as_deref().unwrap_or_default();
    let main = Branch::find(spec, hub, MAIN, source)?;
    let Some(main) = main.filter(|main| own_files::has_path(&main.tree, inside)) else {
        let subsets = converted::subsets(&converted.tree);
        let names = listed(subsets.keys().map(String::as_str));
        let why = format!("no subset, file or folder {inside}; its subsets are {names}");
        return Err(Error(format!("{spec}: {why}")));
    };
    let choice = own_files::at_path(spec, inside, &main.tree)?;
    Ok(Some(Found {
        branch: main,
        choice,
    }))
}

fn in_branch(
    spec: &DatasetSpec,
    hub: &HubSettings,
    source: Source,
    branch: Branch,
) -> Result<Found> {
    let mut note = None;
    let choice = match &spec.inside {
        Some(path) if spec.is_path => own_files::at_path(spec, path, &branch.tree)?,
        _ if branch.revision == CONVERTED => converted::choose(spec, &branch.tree)?
            .map_or_else(|| own_files::choose(spec, &branch.tree, &[]), Ok)?,
        _ => {
            let configs;
            (configs, note) = configs_of(spec, hub, source, &branch)?;
            own_files::choose(spec, &branch.tree, &configs)?
        }
    };
    let mut found = Found { branch, choice };
    found.choice.notes.extend(note);
    Ok(found)
}

/// The subsets that the README declares, and a note where it cannot be read.
fn configs_of(
    spec: &DatasetSpec,
    hub: &HubSettings,
    source: Source,
    branch: &Branch,
) -> Result<(Vec<Config>, Option<String>)> {
    if branch.tree.get(README).is_none() && !branch.is_cached_part {
        return Ok((Vec::new(), None));
    }
    let file = match (branch.cached(README), source) {
        (Some(file), _) => file,
        (None, Source::Hub) => {
            let fetched = branch.fetch(README, Some(MAX_README_BYTES));
            fetched
                .map_err(|failure| explain(spec, hub, README, failure))?
                .0
        }
        // It may declare other files than those that were fetched by their paths.
        (None, Source::Cache) if !hub.offline => {
            return Err(Error(format!("{spec}: {README} is not in the cache")));
        }
        (None, Source::Cache) => {
            let note = "README.md is not in the cache: splits are those of the files' names";
            return Ok((Vec::new(), Some(note.into())));
        }
    };
    let fail = |why: String| {
        let how = format!("name a file or folder instead, as in hub:{}/data", spec.id);
        Error(format!("{spec}: {README}: {why}; {how}"))
    };
    let text = std::fs::read(&file).map_err(|e| fail(e.to_string()))?;
    let configs = card::configs(&String::from_utf8_lossy(&text)).map_err(fail)?;
    Ok((configs, None))
}

/// The chosen files that are not in the cache.
fn missing(found: &Found) -> Vec<&str> {
    let paths = found.choice.files.iter().map(|file| file.path.as_str());
    paths
        .filter(|path| found.branch.cached(path).is_none())
        .collect()
}

/// Fetches what is missing, after asking whether the disk holds all of it.
fn fetch(spec: &DatasetSpec, hub: &HubSettings, found: &Found) -> Result<()> {
    let missing = missing(found);
    let sizes = missing
        .iter()
        .filter_map(|path| found.branch.tree.get(path));
    let cache = &found.branch.repo.cache;
    let n_bytes = sizes.map(|file| file.n_bytes.saturating_sub(cache.n_there(file)));
    let n_bytes = n_bytes.fold(0, u64::saturating_add);
    let what = match missing[..] {
        [one] => one.to_string(),
        _ => format!("{} files", missing.len()),
    };
    let failed = |what: &str, failure| explain(spec, hub, what, failure);
    require_space(&hub.cache_dir, n_bytes).map_err(|failure| failed(&what, failure))?;
    for path in missing {
        let fetched = found.branch.fetch(path, None);
        let (_, commit) = fetched.map_err(|failure| failed(path, failure))?;
        if commit != found.branch.commit {
            let asked = &found.branch.commit;
            return Err(Error(format!(
                "{spec}: {path}: the hub answers with commit {commit} where {asked} was asked for"
            )));
        }
    }
    Ok(())
}

fn local(found: &Found, source: Source) -> DatasetFiles {
    let Found { branch, choice } = found;
    let snapshot = branch.repo.cache.snapshot(&branch.commit);
    let n_bytes = choice
        .files
        .iter()
        .map(|f| f.n_bytes)
        .fold(0, u64::saturating_add);
    let (n, mb) = (choice.files.len(), n_bytes.div_ceil(1_000_000));
    let files = if n == 1 { "file" } else { "files" };
    let at = match branch.revision == branch.commit {
        true => format!("commit {}", branch.commit),
        false => format!("revision {} (commit {})", branch.revision, branch.commit),
    };
    let what = &choice.what;
    let mut notes = vec![format!("{at}, {what}: {n} {files}, {mb} MB")];
    notes.extend(choice.notes.iter().cloned());
    if source == Source::Cache && branch.is_cached_part {
        notes.push("only the files in the cache are known: the data set may have more".into());
    }
    DatasetFiles {
        files: choice
            .files
            .iter()
            .map(|file| snapshot.join(&file.path))
            .collect(),
        notes,
        commit: branch.commit.clone(),
    }
}
