//! The rows of sft and reward-model, from the data files to token ids: read, split by prompt,
//! tokenised, fitted to the context.
//!
//! Rows of up to `data.memory_mb` of text are kept in memory. More are read twice, once to count
//! them and once to tokenise them, and their ids are written into the cache, where later runs of
//! the same files and settings find them.

mod held_out;
mod set;

use crate::cache::{Cache, Entry, Facts, FileHash};
use crate::store::{TokenFile, TokenWriter};
use crate::{
    DataFiles, Encoder, Error, Example, Examples, ReadSources, Record, Result, RowsConfig,
    Selection, TooLong, TrainOn,
};
use held_out::Split;
use set::{Progress, Set, Sink};
use std::path::PathBuf;

/// Held-out records of large data that are kept as text, for the samples that a run shows.
const SHOWN: usize = 4096;

/// Text of the records that are tokenised together.
const CHUNK_BYTES: usize = 4 << 20;

/// Makes the examples of a record.
pub type Encode<T, const N: usize> = fn(&Encoder, &T, TrainOn) -> Result<Vec<[Example; N]>>;

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
    /// Refuse training answers of which truncation leaves none its end
    pub must_end: bool,
    /// Where the tokens of large data go: [`cache_dir`](crate::cache_dir)
    pub cache_dir: Option<PathBuf>,
}

/// Rows as token ids.
pub struct PreparedRows<T, const N: usize> {
    /// To learn from
    pub train: Examples<N>,
    /// To evaluate on
    pub held_out: Examples<N>,
    /// The held-out records as text; of large data the first ones
    pub shown: Vec<T>,
    /// Held-out prompts that are training prompts, too
    pub n_shared: usize,
    /// The files that were read
    pub files: DataFiles,
}

impl<T, const N: usize, const HELD_OUT: u8> Preparing<'_, T, N, HELD_OUT>
where
    T: Record + serde::Serialize + serde::de::DeserializeOwned,
{
    /// Reads the rows, unless the cache may have them. Needs no model. Says on stderr what was read
    /// and dropped.
    ///
    /// Errors: as [`Selection::for_each`].
    pub fn read(&self) -> Result<ReadRows<T>> {
        let cache = Cache::new(self.cache_dir.as_deref());
        let mut known = Vec::new();
        for selection in self.selections() {
            known.extend(cache.known_hashes(&selection.paths()?));
        }
        match known.len() == self.selections().len() {
            true => Ok(ReadRows::Known(known)),
            false => self.scan(),
        }
    }

    fn scan(&self) -> Result<ReadRows<T>> {
        let mut scanned = Vec::new();
        for selection in self.selections() {
            scanned.push(self.scan_one(&selection)?);
        }
        Ok(ReadRows::Scanned(scanned))
    }

    /// Tokenises the rows, or finds them in the cache. `encoder`: of sequences within
    /// `data.max_len`. Says on stderr what was truncated or dropped.
    ///
    /// Errors: a row is too long and is not to be; hardly any answer ends with EOS.
    pub fn tokenise(&self, rows: ReadRows<T>, encoder: &Encoder) -> Result<PreparedRows<T, N>> {
        let cache = Cache::new(self.cache_dir.as_deref());
        let scanned = match rows {
            ReadRows::Scanned(scanned) => scanned,
            ReadRows::Known(files) => {
                if let Some(found) = self.find(&cache, &files, encoder)? {
                    return Ok(found);
                }
                match self.scan()? {
                    ReadRows::Scanned(scanned) => scanned,
                    ReadRows::Known(_) => unreachable!("they were read"),
                }
            }
        };
        let mut scanned = scanned.into_iter();
        let train = scanned.next().expect("there are training rows");
        let eval = scanned.next();
        let split = Split::new(self, &train, eval.as_ref());
        let is_small = |one: &Scanned<T>| one.records.is_some();
        match is_small(&train) && eval.as_ref().is_none_or(is_small) {
            true => self.in_memory(encoder, train, eval, split),
            false => self.in_cache(encoder, &cache, [Some(train), eval], split),
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

    /// Reads all rows. Their records are kept as long as their text is short enough.
    fn scan_one(&self, selection: &Selection) -> Result<Scanned<T>> {
        let most = self.config.memory_mb.saturating_mul(1 << 20);
        let (mut records, mut keys, mut n_bytes) = (Some(Vec::new()), Vec::new(), 0usize);
        let read = selection.for_each(&mut |record: T| {
            n_bytes = n_bytes.saturating_add(record.n_bytes());
            keys.push(record.prompt().key());
            if n_bytes > most {
                records = None;
            }
            if let Some(records) = &mut records {
                records.push(record);
            }
            Ok(())
        })?;
        read.report();
        if self.config.too_long == TooLong::Error && read.n_too_big > 0 {
            return Err(Error(format!(
                "{}: {} rows are longer than 16 MiB; remove them, or set data.too_long = \"drop\"",
                selection.shown(),
                read.n_too_big
            )));
        }
        Ok(Scanned {
            records,
            keys,
            n_bytes,
            read,
        })
    }

    fn in_memory(
        &self,
        encoder: &Encoder,
        train: Scanned<T>,
        eval: Option<Scanned<T>>,
        split: Split,
    ) -> Result<PreparedRows<T, N>> {
        let mut sets = self.sets(
            encoder,
            [Sink::Memory(Vec::new()), Sink::Memory(Vec::new())],
        );
        let (mut rows, mut shown) = (Vec::new(), Vec::new());
        let mut n_held = 0;
        let records = train.records.into_iter().flatten();
        for record in records {
            match split.is_held(&record) {
                false => rows.push(record),
                true => shown.push(record),
            }
        }
        if let Some(eval) = &eval {
            shown.extend(eval.records.iter().flatten().cloned());
        }
        shown.truncate(split.max_held);
        n_held += shown.len();
        let mut progress = Progress::new(rows.len() + n_held);
        for (set, records) in sets.iter_mut().zip([&rows, &shown]) {
            let mut chunk = 0..0;
            let mut n_bytes = 0;
            for (i, record) in records.iter().enumerate() {
                n_bytes += record.n_bytes();
                chunk.end = i + 1;
                if n_bytes > CHUNK_BYTES {
                    set.add(self, &records[chunk.clone()])?;
                    progress.add(chunk.len());
                    (chunk, n_bytes) = (i + 1..i + 1, 0);
                }
            }
            set.add(self, &records[chunk.clone()])?;
            progress.add(chunk.len());
        }
        progress.finish();
        let [train_set, held_set] = sets;
        for set in [&train_set, &held_set] {
            for note in set.notes(self)? {
                run::say!("{note}");
            }
        }
        split.report();
        let weights = train.read.weights.clone();
        Ok(PreparedRows {
            train: Examples::in_memory(train_set.sink.into_rows(), weights.clone()),
            held_out: Examples::in_memory(held_set.sink.into_rows(), weights),
            shown,
            n_shared: split.n_shared,
            files: self.files(&train.read, eval.as_ref().map(|e| &e.read), split.prompts),
        })
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
        encoder: &Encoder,
    ) -> Result<Option<PreparedRows<T, N>>> {
        let Some(entry) = cache.find(&self.cache_key(files, encoder)?)? else {
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
        })
    }

    /// What the tokens depend on, beside the bytes of the files.
    fn cache_key(&self, files: &[Vec<FileHash>], encoder: &Encoder) -> Result<String> {
        let hashes = |files: &Vec<FileHash>| {
            files
                .iter()
                .map(|(_, hash)| hash.clone())
                .collect::<Vec<_>>()
        };
        let settings = self.config.without_places();
        let key = serde_json::json!({
            "files": files.iter().map(hashes).collect::<Vec<_>>(),
            "settings": settings,
            "seed": self.seed,
            "train_on": self.train_on,
            "examples": N,
            "encoder": encoder.identity()?,
        });
        Ok(key.to_string())
    }

    fn in_cache(
        &self,
        encoder: &Encoder,
        cache: &Cache,
        scanned: [Option<Scanned<T>>; 2],
        split: Split,
    ) -> Result<PreparedRows<T, N>> {
        let scanned: Vec<Scanned<T>> = scanned.into_iter().flatten().collect();
        let n_bytes: usize = scanned.iter().map(|one| one.n_bytes).sum();
        let n_rows = scanned.iter().map(|one| one.keys.len()).sum();
        let reads: Vec<ReadSources> = scanned.into_iter().map(|one| one.read).collect();
        let files: Vec<_> = reads.iter().map(|read| read.files.clone()).collect();
        let new = cache.start(&self.cache_key(&files, encoder)?, n_bytes as u64)?;
        run::say!(
            "data: {} MB of text are more than data.memory_mb = {}; the rows are tokenised into {}",
            n_bytes >> 20,
            self.config.memory_mb,
            new.target().display()
        );
        let create = |name: &str| TokenWriter::create(&new.dir().join(name)).map(Sink::File);
        let mut sets = self.sets(
            encoder,
            [create("train.tokens")?, create("held-out.tokens")?],
        );
        let mut shown: Vec<T> = Vec::new();
        let mut progress = Progress::new(n_rows);
        let mut n_held = 0;
        let mut selections = vec![(self.selection(), false)];
        selections.extend(self.eval_selection().map(|selection| (selection, true)));
        for ((selection, is_eval), before) in selections.into_iter().zip(&files) {
            let (mut chunks, mut n_bytes) = ([Vec::new(), Vec::new()], 0);
            let again = selection.for_each(&mut |record: T| {
                let is_held = is_eval || split.is_held(&record);
                if is_held && n_held >= split.max_held {
                    progress.add(1);
                    return Ok(());
                }
                n_held += usize::from(is_held);
                if is_held && shown.len() < SHOWN {
                    shown.push(record.clone());
                }
                n_bytes += record.n_bytes();
                chunks[usize::from(is_held)].push(record);
                if n_bytes > CHUNK_BYTES {
                    n_bytes = 0;
                    self.flush(&mut sets, &mut chunks, &mut progress)?;
                }
                Ok(())
            })?;
            self.flush(&mut sets, &mut chunks, &mut progress)?;
            if again.files != *before {
                return Err(Error(format!(
                    "{}: changed while it was read; run again",
                    selection.shown()
                )));
            }
        }
        progress.finish();
        let mut notes: Vec<String> = Vec::new();
        for set in &sets {
            let said = set.notes(self)?;
            said.iter().for_each(|note| run::say!("{note}"));
            notes.extend(said);
        }
        split.report();
        notes.extend(split.note.clone());
        let read_lines = reads.iter().flat_map(|read| read.lines.clone());
        let notes: Vec<String> = read_lines.chain(notes).collect();
        let [train_set, held_set] = sets;
        let indices = [train_set.sink.into_index()?, held_set.sink.into_index()?];
        let entry = new.finish(
            indices,
            &shown,
            &split.prompts,
            Facts {
                notes,
                n_shared: split.n_shared,
                weights: reads[0].weights.clone(),
            },
        )?;
        files.iter().for_each(|files| cache.remember(files));
        self.open(&entry, &files)
    }

    fn flush(
        &self,
        sets: &mut [Set<N>; 2],
        chunks: &mut [Vec<T>; 2],
        progress: &mut Progress,
    ) -> Result<()> {
        for (set, chunk) in sets.iter_mut().zip(chunks) {
            set.add(self, chunk)?;
            progress.add(chunk.len());
            chunk.clear();
        }
        Ok(())
    }

    fn sets(&self, encoder: &Encoder, [train, held]: [Sink<N>; 2]) -> [Set<N>; 2] {
        [
            Set::new("training", self.must_end, encoder, train),
            Set::new("held-out", false, encoder, held),
        ]
    }
}

/// What was read of rows, before any tokenizer.
pub enum ReadRows<T> {
    /// Their files have not changed since they were tokenised: the hashes
    Known(Vec<Vec<FileHash>>),
    /// They were read: for training, and for evaluation if they have a place of their own
    Scanned(Vec<Scanned<T>>),
}

/// All rows of a selection.
pub struct Scanned<T> {
    /// None: their text is too long to be kept
    records: Option<Vec<T>>,
    /// The key of each one's prompt
    keys: Vec<u64>,
    n_bytes: usize,
    read: ReadSources,
}
