//! The records of a path: all of them, or one after the other.

use super::read::{Counts, NOT_MATCHED, read_rows};
use super::{Collector, ReadOptions, Want};
use crate::record::{n_values, text_of};
use crate::{Demonstration, Only, Preference, Prompt, Result};
use std::collections::HashSet;
use std::path::Path;

/// What rows hold. Stages ask for one kind of record.
pub trait Record: Sized + Clone + Send + Sync + private::Sealed {
    /// The question.
    fn prompt(&self) -> &Prompt;

    /// Bytes of its texts.
    fn n_bytes(&self) -> usize;

    /// Bytes of its texts, and of the values of its tools and calls, in memory.
    fn held_bytes(&self) -> usize;

    /// The question, to change it.
    fn prompt_mut(&mut self) -> &mut Prompt;
}

mod private {
    use super::{Collector, Want};

    pub trait Sealed: Sized {
        const WANT: Want;

        fn take(collector: &mut Collector) -> Vec<Self>;
    }
}

macro_rules! record {
    ($record:ty, $want:ident, $records:ident, |$this:ident| $prompt:expr, $prompt_mut:expr, $answers:expr, $fields:expr) => {
        impl private::Sealed for $record {
            const WANT: Want = Want::$want;

            fn take(collector: &mut Collector) -> Vec<Self> {
                std::mem::take(&mut collector.$records)
            }
        }

        impl Record for $record {
            fn prompt(&self) -> &Prompt {
                let $this = self;
                $prompt
            }

            fn n_bytes(&self) -> usize {
                let $this = self;
                let answers: &[&str] = &$answers;
                let prompt = self.prompt().ask.n_bytes();
                prompt + answers.iter().map(|answer| answer.len()).sum::<usize>()
            }

            fn held_bytes(&self) -> usize {
                let $this = self;
                let n_values = $this.prompt().ask.n_values() + $fields.map_or(0, n_values);
                $this.n_bytes() + n_values * size_of::<serde_json::Value>()
            }

            fn prompt_mut(&mut self) -> &mut Prompt {
                let $this = self;
                $prompt_mut
            }
        }
    };
}

record!(
    Demonstration,
    Demonstrations,
    demonstrations,
    |d| &d.prompt,
    &mut d.prompt,
    [&text_of(&d.response, &d.fields)],
    Some(&d.fields)
);
record!(
    Preference,
    Preferences,
    preferences,
    |p| &p.prompt,
    &mut p.prompt,
    [p.chosen.as_str(), p.rejected.as_str()],
    None
);
record!(
    Prompt,
    Prompts,
    prompts,
    |p| p,
    p,
    [p.reference.as_deref().unwrap_or_default()],
    None
);

/// The records of a path, and how many of its rows were dropped and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// The records, in the order of the files.
    pub items: Vec<T>,
    /// Of its rows
    pub counts: Counts,
}

impl<T> Loaded<T> {
    /// Says on stderr what was read: [`Counts::report`].
    pub fn report(&self, path: &Path) {
        self.counts.report(path);
    }
}

/// Calls `each` for every record of a path that `only` takes; it returns whether it used the
/// record. Of prompts, those that were used before are dropped and counted: `seen` has their keys.
///
/// Errors, in one line with file and row: a file cannot be read, a row does not fit the format, a
/// field that nothing reads would change what the row means, or the format holds no such records;
/// and whatever `each` fails with.
pub fn for_each<T: Record>(
    path: &Path,
    options: &ReadOptions,
    only: Option<&Only>,
    seen: &mut HashSet<u64>,
    each: &mut dyn FnMut(T) -> Result<bool>,
) -> Result<Counts> {
    let (mut n_used, mut n_others, mut n_repeated, mut n_beyond) = (0, 0, 0, 0);
    let mut counts = read_rows(path, options, T::WANT, &mut |row| {
        for record in T::take(row.collector) {
            let prompt = record.prompt();
            let (is_prompt, key) = (T::WANT == Want::Prompts, prompt.key());
            if is_prompt && seen.contains(&key) {
                n_repeated += 1;
            } else if only.is_some_and(|only| !only.takes(&prompt.ask)) {
                n_others += 1;
            } else if each(record)? {
                n_used += 1;
                if is_prompt {
                    seen.insert(key);
                }
            } else {
                n_beyond += 1;
            }
        }
        Ok(())
    })?;
    counts.drop_rows("repeated prompt", n_repeated);
    counts.drop_rows(NOT_MATCHED, n_others);
    counts.drop_rows("beyond max_rows", n_beyond);
    counts.n_used = n_used;
    Ok(counts)
}

fn load<T: Record>(path: &Path, options: &ReadOptions) -> Result<Loaded<T>> {
    let (mut items, mut seen) = (Vec::new(), HashSet::new());
    let counts = for_each(path, options, None, &mut seen, &mut |record| {
        items.push(record);
        Ok(true)
    })?;
    counts.require(&path.display(), None)?;
    Ok(Loaded { items, counts })
}

/// Reads prompts with the answer to imitate. Errors as [`for_each`].
pub fn demonstrations(
    path: &Path,
    options: impl Into<ReadOptions>,
) -> Result<Loaded<Demonstration>> {
    load(path, &options.into())
}

/// Reads prompts with a better and a worse answer. Errors as [`for_each`].
pub fn preferences(path: &Path, options: impl Into<ReadOptions>) -> Result<Loaded<Preference>> {
    load(path, &options.into())
}

/// Reads the prompts of any format, each once. Errors as [`for_each`].
pub fn prompts(path: &Path, options: impl Into<ReadOptions>) -> Result<Loaded<Prompt>> {
    load(path, &options.into())
}

/// The prompts without those that came before, wherever, and how many those are.
///
/// ```
/// let prompt = |text: &str| data::Prompt::new(data::Ask::instruction(text), None);
/// let (once, n) = data::each_prompt_once(["a", "b", "a"].map(prompt).to_vec());
/// assert_eq!((once, n), (["a", "b"].map(prompt).to_vec(), 1));
/// ```
pub fn each_prompt_once(mut prompts: Vec<Prompt>) -> (Vec<Prompt>, usize) {
    let n = prompts.len();
    let mut seen = HashSet::new();
    prompts.retain(|prompt| seen.insert(prompt.key()));
    let n_repeated = n - prompts.len();
    (prompts, n_repeated)
}
