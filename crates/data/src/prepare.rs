//! The rows of sft and reward-model, from the data files to token ids: read, split by prompt,
//! tokenised, fitted to the context.
//!
//! Rows of up to `data.memory_mb` of text are kept in memory. More are read twice, once to count
//! them and once to tokenise them, and their ids are written into the cache, where later runs of
//! the same files and settings find them.

mod held_out;
mod look;
mod scan;
mod set;
mod sets;

use crate::cache::{Cache, Entry, Facts, FileHash, FileState};
use crate::store::{TokenFile, TokenWriter};
use crate::{
    DataFiles, Encoder, Error, Examples, Limits, ReadSources, Record, Result, RowsConfig,
    Selection, TrainOn,
};
use held_out::Split;
use scan::Scanned;
use set::{Rule, Sink};
use sets::Sets;
use std::path::{Path, PathBuf};

pub use look::Look;
pub use set::Encode;

/// Held-out records of large data that are kept as text, for the samples that a run shows.
const SHOWN: usize = 4096;

/// What is prepared, and how.
pub struct Preparing<'a, T, const N: usize, const HELD_OUT: u8> {
    /// Which rows
    pub config: &'a RowsConfig<HELD_OUT>,
    /// Of the split
    pub seed: u64,
    /// The examples of a record
    pub encode: Encode<T, N>,
    /// Which answers of a conversation are learnt
    pub train_on: TrainOn,
    /// The most tokens of a row, and whether it has answers
    pub limits: Limits,
    /// Keep the prompts of rows as text, and of held-out rows nothing else
    pub keeps_prompts: bool,
    /// As [`ReadOptions::drops_tools`](crate::ReadOptions::drops_tools)
    pub drops_tools: bool,
    /// Refuse training answers of which truncation leaves none its end
    pub must_end: bool,
    /// Where the tokens of large data go: [`cache_dir`](crate::cache_dir)
    pub cache_dir: Option<PathBuf>,
    /// The most held-out records that are needed as text
    pub n_shown: usize,
}

/// Rows as token ids.
pub struct PreparedRows<T, const N: usize> {
    /// To learn from
    pub train: Examples<N>,
    /// To evaluate on
    pub held_out: Examples<N>,
    /// The held-out records as text, unless rows keep their prompts; of large data the first ones
    pub shown: Vec<T>,
    /// Held-out prompts that are training prompts, too
    pub n_shared: usize,
    /// The files that were read
    pub files: DataFiles,
    /// How often they were read: not at all where the cache has the rows
    pub n_reads: usize,
}

impl<T, const N: usize, const HELD_OUT: u8> Preparing<'_, T, N, HELD_OUT>
where
    T: Record + serde::Serialize + serde::de::DeserializeOwned,
{
    /// Reads and tokenises the rows, or finds them in the cache. `encoder`: of sequences within
    /// `data.max_len`. Says on stderr what was read, truncated and dropped.
    ///
    /// Errors: as [`Selection::for_each`]; a row is too long and is not to be; hardly any answer
    /// ends with EOS; those of `look`.
    pub fn rows(&self, encoder: &Encoder, look: &mut dyn Look<T>) -> Result<PreparedRows<T, N>> {
        let cache = Cache::new(self.cache_dir.as_deref());
        let mut known = Vec::new();
        for selection in self.selections() {
            let files = selection.paths()?;
            for file in &files {
                row_files::require_readable(file)?;
            }
            known.extend(cache.known_hashes(&files));
        }
        if known.len() == self.selections().len()
            && let Some(found) = self.find(&cache, &known, (encoder, &*look))?
        {
            return Ok(found);
        }
        let RowsConfig {
            memory_mb,
            too_long,
            ..
        } = self.config;
        let mut scanned = Vec::new();
        for selection in self.selections() {
            let mut count = |record: &T| look.count(record);
            scanned.push(scan::scan(&selection, *memory_mb, *too_long, &mut count)?);
        }
        let split = self.split(&scanned);
        match scanned.iter().all(|one| one.records.is_some()) {
            true => self.in_memory((encoder, look), scanned, split),
            false => {
                look.check()?;
                self.in_cache((encoder, look), &cache, scanned, split)
            }
        }
    }

    fn split(&self, scanned: &[Scanned<T>]) -> Split {
        let max_held = self.config.max_eval_rows.unwrap_or(usize::MAX);
        let shown = self.selection().shown();
        match scanned {
            [train, eval] => Split::of_eval(&train.keys, &eval.keys, max_held, shown.as_ref()),
            all => Split::of_share(&all[0].keys, self.config.held_out, self.seed, max_held),
        }
    }

    /// Of the training rows, and of the held-out ones if they have a place of their own.
    fn selections(&self) -> Vec<Selection<'_>> {
        let eval = self.eval_selection();
        std::iter::once(self.selection()).chain(eval).collect()
    }

    fn selection(&self) -> Selection<'_> {
        Selection {
            train_on: self.train_on,
            drops_tools: self.drops_tools,
            ..self.config.selection()
        }
    }

    fn eval_selection(&self) -> Option<Selection<'_>> {
        let path = self.config.eval_path.as_ref()?;
        Some(Selection {
            path,
            sources: &[],
            ..self.selection()
        })
    }

    fn in_memory(
        &self,
        (encoder, look): (&Encoder, &mut dyn Look<T>),
        scanned: Vec<Scanned<T>>,
        split: Split,
    ) -> Result<PreparedRows<T, N>> {
        let sinks = [Sink::Memory(Vec::new()), Sink::Memory(Vec::new())];
        let n_rows = scanned.iter().map(|one| one.keys.len()).sum();
        let (max_held, all) = (split.max_held, usize::MAX);
        let mut sets = Sets::new(self.rule(), look, encoder, sinks, n_rows, (max_held, all));
        let mut reads = Vec::new();
        for (i, one) in scanned.into_iter().enumerate() {
            for record in one.records.into_iter().flatten() {
                let is_held = i > 0 || split.is_held(&record);
                sets.add(record, is_held)?;
            }
            reads.push(one.read);
        }
        let finished = sets.finish(self.must_end)?;
        finished.report(&split);
        let weights = reads[0].weights.clone();
        let [train, held_out] = finished.sinks;
        Ok(PreparedRows {
            train: Examples::in_memory(train.into_rows(), weights.clone()),
            held_out: Examples::in_memory(held_out.into_rows(), weights),
            shown: finished.shown,
            n_shared: split.n_shared,
            files: self.files(&reads[0], reads.get(1), split.prompts),
            n_reads: 1,
        })
    }

    fn rule(&self) -> Rule<T, N> {
        Rule {
            encode: self.encode,
            train_on: self.train_on,
            limits: self.limits,
            keeps_prompts: self.keeps_prompts,
        }
    }

    fn files(
        &self,
        train: &ReadSources,
        eval: Option<&ReadSources>,
        prompts: Vec<u64>,
    ) -> DataFiles {
        let eval = self.eval_selection().zip(eval);
        DataFiles {
            train: self.selection().file(train),
            eval: eval.map(|(selection, read)| selection.file(read)),
            prompts,
        }
    }

    /// The rows of large data as an earlier run prepared them.
    fn find(
        &self,
        cache: &Cache,
        files: &[Vec<FileHash>],
        by: (&Encoder, &dyn Look<T>),
    ) -> Result<Option<PreparedRows<T, N>>> {
        let Some(entry) = cache.find(&self.cache_key(files, by)?)? else {
            return Ok(None);
        };
        for line in &entry.facts.notes {
            run::say!("{line}");
        }
        run::say!(
            "data: the rows were tokenised before, into {}, which may be deleted",
            entry.dir.display()
        );
        match self.open(&entry, files) {
            Ok(rows) => Ok(Some(rows)),
            Err(why) => entry.delete(&why.to_string()).map(|()| None),
        }
    }

    fn open(&self, entry: &Entry, files: &[Vec<FileHash>]) -> Result<PreparedRows<T, N>> {
        let of = |i: usize| {
            files.get(i).map(|files| ReadSources {
                weights: entry.facts.weights.clone(),
                files: files.clone(),
                ..ReadSources::default()
            })
        };
        let file = |name: &str| {
            TokenFile::open(
                &entry.dir.join(format!("{name}.tokens")),
                entry.index(&format!("{name}.index")),
            )
        };
        let train = of(0).unwrap_or_default();
        let weights = entry.facts.weights.clone();
        Ok(PreparedRows {
            train: Examples::in_file(file("train")?, weights.clone()),
            held_out: Examples::in_file(file("held-out")?, weights),
            shown: entry.records()?,
            n_shared: entry.facts.n_shared,
            files: self.files(&train, of(1).as_ref(), entry.keys()),
            n_reads: 0,
        })
    }

    /// What the tokens depend on: the bytes of the files, which of them are a source's, how they
    /// are read, and the settings.
    fn cache_key(
        &self,
        files: &[Vec<FileHash>],
        (encoder, look): (&Encoder, &dyn Look<T>),
    ) -> Result<String> {
        let kind = |file: &Path| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.split_once('.')
                .map(|(_, ending)| ending.to_lowercase())
        };
        let of_file = |(file, hash): &FileHash| serde_json::json!([kind(file), hash]);
        let of_selection = |files: &Vec<FileHash>| files.iter().map(of_file).collect::<Vec<_>>();
        let mut n_files = Vec::new();
        for selection in self.selections() {
            n_files.push(selection.n_files()?);
        }
        let key = serde_json::json!({
            "files": files.iter().map(of_selection).collect::<Vec<_>>(),
            "files_of_sources": n_files,
            "settings": self.config.without_places(),
            "seed": self.seed,
            "train_on": self.train_on,
            "drops_tools": self.drops_tools,
            "shown": SHOWN.max(self.n_shown),
            "examples": N,
            "limits": self.limits,
            "keeps_prompts": self.keeps_prompts,
            "look": look.identity(),
            "encoder": encoder.identity()?,
        });
        Ok(key.to_string())
    }

    fn in_cache(
        &self,
        (encoder, look): (&Encoder, &mut dyn Look<T>),
        cache: &Cache,
        scanned: Vec<Scanned<T>>,
        split: Split,
    ) -> Result<PreparedRows<T, N>> {
        let n_bytes: usize = scanned.iter().map(|one| one.n_bytes).sum();
        let n_rows = scanned.iter().map(|one| one.keys.len()).sum();
        let states: Vec<_> = scanned.iter().map(|one| one.states.clone()).collect();
        let reads: Vec<ReadSources> = scanned.into_iter().map(|one| one.read).collect();
        let files: Vec<_> = reads.iter().map(|read| read.files.clone()).collect();
        // the same bytes may have been elsewhere
        if let Some(found) = self.find(cache, &files, (encoder, &*look))? {
            remember(cache, &files, &states);
            return Ok(PreparedRows {
                n_reads: 1,
                ..found
            });
        }
        require_files(&files)?;
        let key = self.cache_key(&files, (encoder, &*look))?;
        let new = cache.start(&key, n_bytes as u64)?;
        run::say!(
            "data: the rows are more than data.memory_mb = {} holds ({} MB of text); they are tokenised \
             into {}",
            self.config.memory_mb,
            n_bytes.div_ceil(1 << 20),
            new.target().display()
        );
        let create = |name: &str| TokenWriter::create(&new.dir().join(name)).map(Sink::File);
        let sinks = [create("train.tokens")?, create("held-out.tokens")?];
        let kept = (split.max_held, SHOWN.max(self.n_shown));
        let mut sets = Sets::new(self.rule(), look, encoder, sinks, n_rows, kept);
        for (i, (selection, before)) in self.selections().iter().zip(&files).enumerate() {
            let again = selection.for_each(&mut |record: T| {
                let is_held = i > 0 || split.is_held(&record);
                sets.add(record, is_held)
            })?;
            if again.files != *before {
                return Err(Error(format!(
                    "{}: changed while it was read; run again",
                    selection.shown()
                )));
            }
        }
        let finished = sets.finish(self.must_end)?;
        finished.report(&split);
        let lines = reads.iter().flat_map(|read| read.lines.clone());
        let facts = Facts {
            notes: lines.chain(finished.notes).chain(split.note).collect(),
            n_shared: split.n_shared,
            weights: reads[0].weights.clone(),
        };
        let [train, held_out] = finished.sinks;
        let indices = [train.into_index()?, held_out.into_index()?];
        let entry = new.finish(indices, &finished.shown, &split.prompts, facts)?;
        remember(cache, &files, &states);
        let rows = self.open(&entry, &files)?;
        Ok(PreparedRows { n_reads: 2, ..rows })
    }
}

fn remember(cache: &Cache, files: &[Vec<FileHash>], states: &[Vec<FileState>]) {
    for (files, states) in files.iter().zip(states) {
        cache.remember(files, states);
    }
}

/// Fails for what can be read only once.
fn require_files(files: &[Vec<FileHash>]) -> Result<()> {
    let is_file = |file: &Path| std::fs::metadata(file).is_ok_and(|m| m.is_file());
    match files.iter().flatten().find(|(file, _)| !is_file(file)) {
        Some((file, _)) => Err(Error(format!(
            "{}: is no file, and has more rows than data.memory_mb holds, so it would be read twice; \
             write it into a file, or raise data.memory_mb",
            file.display()
        ))),
        None => Ok(()),
    }
}
