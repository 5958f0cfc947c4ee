//! `[[data.sources]]`: rows of several data sets, mixed.

use crate::source::{files_of, sha256_of};
use crate::{
    Counts, DataFile, DataPath, Error, Format, Mixture, Only, ReadOptions, Record, Result, TrainOn,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// One of `[[data.sources]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// As `data.path`
    pub path: DataPath,
    /// Passes over these rows in an epoch: 2 visits each twice, 0.25 a quarter of them, other ones
    /// in each epoch
    #[serde(default = "one")]
    pub weight: f64,
    /// Default: `data.format`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Default: `data.only`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Default: `data.columns`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// In addition to `data.ignore`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
}

fn one() -> f64 {
    1.0
}

/// The keys of `[data]` that say which rows are read.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    pub path: &'a DataPath,
    pub sources: &'a [DataSet],
    pub format: Format,
    pub only: Option<&'a Only>,
    pub columns: &'a BTreeMap<String, String>,
    pub ignore: &'a [String],
    pub max_rows: Option<usize>,
    pub train_on: TrainOn,
    /// As [`ReadOptions::drops_tools`]
    pub drops_tools: bool,
}

/// What was read of all sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadSources {
    /// How often the rows of each source are visited: [`DataSet::weight`].
    pub weights: Vec<f64>,
    /// The files, and the SHA-256 of their bytes as they were read.
    pub files: Vec<(PathBuf, String)>,
    /// Rows dropped because they are longer than any context.
    pub n_too_big: usize,
    /// The messages about each path.
    pub lines: Vec<String>,
}

impl ReadSources {
    /// Says on stderr what was read of each path.
    pub fn report(&self) {
        self.lines.iter().for_each(|line| run::say!("{line}"));
    }
}

/// The most sources.
const MAX_SOURCES: usize = 1000;

impl Selection<'_> {
    /// Fails if it names no rows, or two things that exclude each other.
    pub fn check(&self) -> Result<()> {
        let fail = |what: String| Err(Error(what));
        match (self.path.is_empty(), self.sources.len()) {
            (true, 0) => {
                return fail(
                    "data.path is missing: a file, a directory, a pattern or hub:org/name, or a list \
                     of these"
                        .into(),
                );
            }
            (false, 1..) => {
                return fail(
                    "data.path and [[data.sources]] are both given; put data.path among the sources"
                        .into(),
                );
            }
            (_, n) if n > MAX_SOURCES => {
                return fail(format!("{n} data.sources are more than {MAX_SOURCES}"));
            }
            _ => {}
        }
        if !self.sources.is_empty() && self.max_rows.is_some() {
            return fail(
                "data.max_rows does not say of which of the data.sources; set max_rows in each"
                    .into(),
            );
        }
        for (i, source) in self.sources.iter().enumerate() {
            let key = format!("data.sources[{i}]");
            if source.path.is_empty() {
                return fail(format!("{key}.path is empty"));
            }
            if !(source.weight > 0.0 && source.weight <= 1000.0) {
                return fail(format!(
                    "{key}.weight = {} is not above 0 and at most 1000: the passes over these rows in \
                     an epoch",
                    source.weight
                ));
            }
            if source.max_rows == Some(0) {
                return fail(format!(
                    "{key}.max_rows = 0 leaves nothing of it; remove it"
                ));
            }
            let same = |other: &DataSet| other.path == source.path;
            if self.sources[..i].iter().any(same) {
                return fail(format!(
                    "{key}.path is that of an earlier one, {}; give one of them, with the sum of the \
                     weights",
                    source.path
                ));
            }
        }
        Ok(())
    }

    /// What is read, for messages.
    pub fn shown(&self) -> String {
        match self.sources {
            [] => self.path.to_string(),
            sources => {
                let paths = sources.iter().map(|source| source.path.to_string());
                paths.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The sources, with the defaults of `[data]`; `data.path` is one.
    pub fn data_sets(&self) -> Vec<DataSet> {
        let with_defaults = |source: &DataSet| DataSet {
            format: source.format.or(Some(self.format)),
            only: source.only.clone().or_else(|| self.only.cloned()),
            columns: match source.columns.is_empty() {
                true => self.columns.clone(),
                false => source.columns.clone(),
            },
            ignore: [self.ignore, &source.ignore].concat(),
            ..source.clone()
        };
        match self.sources {
            [] => vec![DataSet {
                path: self.path.clone(),
                weight: 1.0,
                format: Some(self.format),
                only: self.only.cloned(),
                columns: self.columns.clone(),
                ignore: self.ignore.to_vec(),
                max_rows: self.max_rows,
            }],
            sources => sources.iter().map(with_defaults).collect(),
        }
    }

    /// Calls `each` for every record that is used.
    ///
    /// Errors: as [`for_each`](crate::for_each).
    pub fn for_each<T: Record>(
        &self,
        each: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<ReadSources> {
        let mut read = ReadSources::default();
        let mut seen = HashSet::new();
        self.paths()?; // no file twice
        for (number, source) in self.data_sets().iter().enumerate() {
            let options = ReadOptions {
                format: source.format.unwrap_or_default(),
                columns: source.columns.clone(),
                ignore: source.ignore.clone(),
                train_on: self.train_on,
                drops_tools: self.drops_tools,
            };
            let (mut counts, only) = (Counts::default(), source.only.as_ref());
            for path in source.path.iter() {
                let mut n_used = counts.n_used;
                let of_path =
                    crate::for_each(path, &options, only, &mut seen, &mut |mut record: T| {
                        if source.max_rows.is_some_and(|max| n_used >= max) {
                            return Ok(false);
                        }
                        n_used += 1;
                        let origin = &mut record.prompt_mut().origin;
                        *origin = std::mem::take(origin).of_source(number as u16);
                        each(record).map(|()| true)
                    })?;
                read.lines.extend(of_path.lines(path));
                counts.add(of_path);
            }
            counts.require(&source.path, only)?;
            read.n_too_big += counts.n_too_big();
            read.files.extend(counts.files);
            read.weights.push(source.weight);
        }
        Ok(read)
    }

    /// The files that are read.
    ///
    /// Errors: a path names no file, or a file is there twice.
    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        let data_sets = self.data_sets();
        distinct_files(data_sets.iter().flat_map(|source| source.path.iter()))
    }

    /// Files of each source.
    pub fn n_files(&self) -> Result<Vec<usize>> {
        let mut n_files = Vec::new();
        for source in self.data_sets() {
            let mut n = 0;
            for path in source.path.iter() {
                n += files_of(path)?.files.len();
            }
            n_files.push(n);
        }
        Ok(n_files)
    }

    /// All records that are used, side by side in the order of the sources. Says on stderr what was
    /// read of each path.
    pub fn load<T: Record>(&self) -> Result<(Vec<T>, ReadSources)> {
        let mut items = Vec::new();
        let read = self.for_each(&mut |record| {
            items.push(record);
            Ok(())
        })?;
        read.report();
        Ok((items, read))
    }

    /// What was read, for the run's record.
    pub fn file(&self, read: &ReadSources) -> DataFile {
        DataFile {
            path: self.shown().into(),
            sha256: sha256_of(&read.files),
            files: read.files.clone(),
        }
    }
}

/// The files of all paths, in order.
///
/// Errors: a path names no files; one file is read twice.
pub fn distinct_files<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut places: HashMap<PathBuf, (&Path, PathBuf)> = HashMap::new();
    for path in paths {
        for file in files_of(path)?.files {
            let place = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if let Some((first, same)) = places.insert(place, (path, file.clone())) {
                let who = match first == path {
                    true => format!("{} and {} are one file", same.display(), file.display()),
                    false => {
                        let (first, path) = (first.display(), path.display());
                        format!("{} is read twice, by {first} and {path}", file.display())
                    }
                };
                return Err(Error(format!(
                    "{who}; to visit rows more often, give them a weight in [[data.sources]]"
                )));
            }
            files.push(file);
        }
    }
    Ok(files)
}

/// Says what an epoch takes of several sources: `data.sources: an epoch has 120 training examples:
/// a.json 100 × 1 = 100 (83 %); b.json 80 × 0.25 = 20 (17 %)`.
pub fn report_mixture(selection: &Selection, mixture: &Mixture) {
    if selection.sources.is_empty() {
        return;
    }
    let n_all = mixture.n_visits();
    let parts = selection.sources.iter().zip(mixture.parts());
    let parts = parts.map(|(source, (n_rows, n_visits))| {
        let share = 100.0 * n_visits as f64 / n_all.max(1) as f64;
        let DataSet { path, weight, .. } = source;
        format!("{path} {n_rows} × {weight} = {n_visits} ({share:.0} %)")
    });
    run::say!(
        "data.sources: an epoch has {n_all} training examples: {}",
        parts.collect::<Vec<_>>().join("; ")
    );
}
