//! `wick data convert`.

use crate::Stage;
use crate::convert_row::row;
use crate::item::Item;
use crate::out::Out;
use crate::refusal::{ignore_option, reason};
use crate::row_args::{RowArgs, data_path};
use anyhow::{Result, bail, ensure};
use data::{Ask, FieldUse, Origin, RowView, Taken, TrainOn};
use row_files::{MAX_ROW_BYTES, TOO_BIG};
use run::Replace;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// `wick data convert`
#[derive(Clone, Debug, clap::Args)]
pub struct ConvertCommand {
    /// Files, directories of data files, patterns such as 'part-*.jsonl', data sets of the hub
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    #[command(flatten)]
    pub rows: RowArgs,
    /// The file to write: .jsonl, .jsonl.gz or .jsonl.zst
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The rows to write [default: what the first rows are]
    #[arg(long, value_name = "ROWS")]
    pub to: Option<To>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// The rows that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum To {
    /// {"messages": …}, for sft
    Messages,
    /// {"prompt": …}, for rlhf; answers are left out, and each prompt is written once
    Prompt,
    /// {"prompt": …, "chosen": …, "rejected": …}, for rm
    Pairs,
}

impl To {
    fn stage(self) -> Stage {
        match self {
            Self::Messages => Stage::Sft,
            Self::Pairs => Stage::Rm,
            Self::Prompt => Stage::Rlhf,
        }
    }
}

/// What was written and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Rows that were read
    pub n_rows: u64,
    /// Rows that were written
    pub n_written: u64,
    /// Records that were dropped, by reason
    pub dropped: BTreeMap<String, u64>,
    /// Fields that are not in the result, with the number of their rows
    pub left_out: BTreeMap<String, u64>,
    /// Answers that are not, since prompts are written
    pub n_answers: u64,
    /// Texts that became a turn
    pub n_texts: u64,
    /// Instructions whose input was joined to them
    pub n_inputs: u64,
}

impl ConvertCommand {
    /// Writes the rows and says on stderr what was written and dropped.
    ///
    /// # Errors
    /// As [`ConvertCommand::convert`].
    pub fn execute(&self) -> Result<()> {
        let converted = self.convert()?;
        for line in converted.lines(&self.out) {
            run::say!("{line}");
        }
        Ok(())
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// If `--out` exists, or is one of the files that are read; a file cannot be read to its end; a
    /// stage would refuse a row; a field would be lost that is not to be ignored; or no row is
    /// left.
    pub fn convert(&self) -> Result<Converted> {
        run::ensure_new(&self.out, "--out", Replace::WithForce(self.force))?;
        let paths = data_path(&self.paths)?;
        let options = self.rows.options(TrainOn::All)?;
        let found = match self.to {
            Some(to) => Some(to.stage()),
            None => Stage::of_files(paths.iter().map(|path| (path, &options)))?,
        };
        let mut writer = Writer {
            command: self,
            stage: found,
            out: Out::new(&self.out)?,
            seen: HashSet::new(),
            file: PathBuf::new(),
            counts: Converted::default(),
        };
        for path in paths.iter() {
            let read = data::each_row(path, &options, &mut |row| {
                let added = writer.add(&row);
                added.map_err(|e| data::Error(run::one_line(&e)))?;
                Ok(ControlFlow::Continue(()))
            })?;
            for file in read.files {
                if let Some(error) = file.error {
                    bail!("{error}");
                }
                writer.counts.n_rows += file.n_rows as u64;
                writer.drop_record(TOO_BIG, file.n_too_big as u64);
            }
            let of_stage = match writer.stage {
                Some(Stage::Sft) => read.stages.demonstrations,
                Some(Stage::Rm) => read.stages.preferences,
                Some(Stage::Rlhf) => read.stages.prompts,
                None => Vec::new(),
            };
            let notes = read.notes.iter().chain(&of_stage);
            notes.for_each(|note| run::say!("{}: {note}", path.display()));
        }
        let counts = writer.counts;
        ensure!(
            counts.n_written > 0,
            "{paths}: none of its rows can be written: {}",
            list(&counts.dropped)
        );
        writer.out.finish()?;
        Ok(counts)
    }
}

struct Writer<'a> {
    command: &'a ConvertCommand,
    /// None: that of the first row
    stage: Option<Stage>,
    out: Out,
    /// The prompts that were written, where prompts are
    seen: HashSet<u64>,
    /// The file that is being read
    file: PathBuf,
    counts: Converted,
}

impl Writer<'_> {
    fn add(&mut self, view: &RowView) -> Result<()> {
        if self.file != view.file {
            self.file = view.file.to_path_buf();
            let same = |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok());
            let is_out = same(view.file, &self.command.out).is_some_and(|(a, b)| a == b);
            ensure!(
                !is_out,
                "--out {} is one of the files that are read",
                self.file.display()
            );
        }
        let first = || Stage::of_row(view).unwrap_or(Stage::Sft);
        let stage = *self.stage.get_or_insert_with(first);
        match stage {
            Stage::Sft => self.check(view, &view.demonstrations)?,
            Stage::Rm => self.check(view, &view.preferences)?,
            Stage::Rlhf => self.check(view, &view.prompts)?,
        }
        for item in Item::of_row(view, stage) {
            let only = self.command.rows.only.as_ref();
            if only.is_some_and(|only| !only.takes(&item.prompt.ask)) {
                self.drop_record("not matched by --only", 1);
            } else if stage == Stage::Rlhf && !self.seen.insert(item.prompt.key()) {
                self.drop_record("repeated prompt", 1);
            } else {
                self.write(&item)?;
            }
        }
        Ok(())
    }

    /// Fails if the row is refused or would lose a field.
    fn check<T>(&mut self, view: &RowView, taken: &Taken<T>) -> Result<()> {
        let place = || Origin::new(view.file.into(), view.number);
        let options = self.command.rows.options(TrainOn::All)?;
        let fields = taken.fields.iter();
        let unused = fields.filter(|(_, becomes)| *becomes == FieldUse::Unused);
        let unused: Vec<&str> = unused.map(|(name, _)| name.as_str()).collect();
        if let Some(why) = &taken.refused {
            let why = reason(why, &taken.fields, &options, &unused);
            bail!("{}: {why}", place());
        }
        taken
            .dropped
            .iter()
            .for_each(|reason| self.drop_record(reason, 1));
        if !unused.is_empty() && !taken.records.is_empty() {
            let (fields, are) = match unused.len() {
                1 => ("field", "is"),
                _ => ("fields", "are"),
            };
            bail!(
                "{}: {fields} \"{}\" {are} read by nothing and would be lost; if that is right, \
                 give {}",
                place(),
                unused.join("\", \""),
                ignore_option(&options.ignore, &unused)
            );
        }
        let left_out = taken
            .fields
            .iter()
            .filter(|(_, becomes)| *becomes != FieldUse::Used);
        for (name, _) in left_out {
            *self.counts.left_out.entry(name.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn drop_record(&mut self, reason: &str, n: u64) {
        if n > 0 {
            *self.counts.dropped.entry(reason.to_string()).or_default() += n;
        }
    }

    fn write(&mut self, item: &Item) -> Result<()> {
        let line = row(item).to_string();
        ensure!(
            line.len() < MAX_ROW_BYTES,
            "{}: the row would be longer than 16 MiB as JSON; shorten it",
            item.prompt.origin
        );
        self.out.put(&line)?;
        let counts = &mut self.counts;
        counts.n_written += 1;
        if item.answers.is_empty() && item.prompt.has_reference() {
            counts.n_answers += 1;
        }
        if let Ask::Instruction { input, .. } = &item.prompt.ask {
            counts.n_texts += u64::from(item.answers.len() == 1);
            counts.n_inputs += u64::from(!input.trim().is_empty());
        }
        Ok(())
    }
}

impl Converted {
    /// The messages: `rows.jsonl: 90 rows written of 100 read; dropped: empty answer (10)`.
    pub fn lines(&self, out: &Path) -> Vec<String> {
        let shown = out.display();
        let dropped = match list(&self.dropped) {
            none if none.is_empty() => none,
            some => format!("; dropped: {some}"),
        };
        let (written, read) = (self.n_written, self.n_rows);
        let mut lines = vec![format!(
            "{shown}: {written} rows written of {read} read{dropped}"
        )];
        if !self.left_out.is_empty() {
            let fields = list(&self.left_out);
            lines.push(format!(
                "{shown}: fields that are not in it (rows): {fields}"
            ));
        }
        for (n, what) in [
            (
                self.n_answers,
                "answers are not in it: prompts were asked for",
            ),
            (
                self.n_texts,
                "prompts were texts and are user turns now: under model.template = \"raw\" they \
                 would be written as a conversation",
            ),
            (
                self.n_inputs,
                "inputs are joined to their instructions, as chat templates have them; Alpaca's \
                 template would keep them apart",
            ),
        ] {
            if n > 0 {
                lines.push(format!("{shown}: {n} {what}"));
            }
        }
        lines
    }
}

/// `empty answer (3), repeated prompt (1)`
fn list(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().map(|(name, n)| format!("{name} ({n})"));
    counts.collect::<Vec<_>>().join(", ")
}
