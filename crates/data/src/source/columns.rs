//! A row under the names that readers know: `data.columns` renames fields of the file, and those
//! that `data.ignore` names are left out before the format is found.

use super::format::ReadOptions;
use super::unused::is_verdict;
use crate::{Error, Result};
use row_files::{Object, row_error};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

/// Renames the fields of the rows of a path.
pub(super) struct Columns<'a> {
    options: &'a ReadOptions,
    /// The file's names in `data.columns` that no row had so far.
    missing: BTreeSet<&'a str>,
    /// The names of the first row's fields.
    first: Option<String>,
}

impl<'a> Columns<'a> {
    /// Fails if two of our names stand for one field, or a field is ignored and read.
    pub fn new(options: &'a ReadOptions) -> Result<Self> {
        let mut missing = BTreeSet::new();
        for (ours, theirs) in &options.columns {
            if !missing.insert(theirs.as_str()) {
                let same = options.columns.iter().filter(|(_, name)| *name == theirs);
                let same: Vec<String> = same.map(|(ours, _)| format!("{ours:?}")).collect();
                return Err(Error(format!(
                    "data.columns reads {} from {theirs:?}; a field of the file can have one name",
                    same.join(" and ")
                )));
            }
            if options.ignores(theirs) {
                return Err(Error(format!(
                    "data.ignore leaves out {theirs:?}, which data.columns reads as {ours:?}; \
                     remove it from one of them"
                )));
            }
        }
        Ok(Self {
            options,
            missing,
            first: None,
        })
    }

    /// The row with our names.
    ///
    /// Errors: it has a field of our name beside the one that gets it.
    pub fn rename<'r>(
        &mut self,
        path: &Path,
        number: usize,
        row: &'r Object,
    ) -> Result<Cow<'r, Object>> {
        let columns = &self.options.columns;
        if columns.is_empty() {
            return Ok(Cow::Borrowed(row));
        }
        let names = || row.keys().map(String::as_str).collect::<Vec<_>>();
        self.first.get_or_insert_with(|| names().join(", "));
        self.missing.retain(|name| !row.contains_key(*name));
        let mut renamed = Object::new();
        for (name, value) in row {
            let ours = columns.iter().find(|(_, theirs)| *theirs == name);
            let is_taken = columns.get(name).filter(|theirs| row.contains_key(*theirs));
            match (ours, is_taken) {
                (Some((ours, _)), _) => renamed.insert(ours.clone(), value.clone()),
                (None, Some(_)) if self.options.ignores(name) => None,
                (None, Some(theirs)) => {
                    let what = format!(
                        "has a field {name:?}, and data.columns reads {name:?} from {theirs:?}; \
                         remove it from data.columns, or set data.ignore = [{name:?}]"
                    );
                    return Err(row_error(path, number, what).into());
                }
                (None, None) => renamed.insert(name.clone(), value.clone()),
            };
        }
        Ok(Cow::Owned(renamed))
    }

    /// Why a row of the file cannot be read where a column is still missing: its error is about
    /// that column.
    pub fn blamed(&self, path: &Path, error: Error) -> Error {
        self.require(path).err().unwrap_or(error)
    }

    /// Fails if there is a column that no row had.
    pub fn require(&self, path: &Path) -> Result<()> {
        let (Some(first), Some(theirs)) = (&self.first, self.missing.first()) else {
            return Ok(());
        };
        let mut columns = self.options.columns.iter();
        let ours = columns.find(|(_, name)| name == theirs);
        Err(Error(format!(
            "{}: data.columns reads {:?} from {theirs:?}, but no row has that field; the first row \
             has {first}",
            path.display(),
            ours.map_or("", |(ours, _)| ours)
        )))
    }
}

/// The row without the fields that `data.ignore` names. Those that say whether an answer is good
/// stay: nothing reads them as text, and bad answers that are learnt all the same are counted.
pub(super) fn visible<'r>(row: &'r Object, options: &ReadOptions) -> Cow<'r, Object> {
    let stays = |name: &String| {
        !options.ignores(name) || is_verdict(name) || options.columns.contains_key(name)
    };
    match row.keys().all(stays) {
        true => Cow::Borrowed(row),
        false => {
            let fields = row.iter().filter(|(name, _)| stays(name));
            let fields = fields.map(|(name, value)| (name.clone(), value.clone()));
            Cow::Owned(fields.collect())
        }
    }
}
