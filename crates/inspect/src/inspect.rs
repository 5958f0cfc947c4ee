//! `wick data inspect`.

use crate::Stage;
use crate::commands::{MAX_LEN, Settings, command};
use crate::overlap::Overlap;
use crate::report::{FileFacts, FormatFacts, HeldOut, LengthReport, Report, StageFacts};
use crate::row_args::RowArgs;
use crate::survey::{Looking, Survey};
use crate::tokens::{MAX_EXACT, Tokens};
use anyhow::{Result, bail, ensure};
use data::{FileRows, Format, PathRows, TrainOn};
use models::Fetch;
use policy::{PolicyMeta, PolicyText, TemplateChoice};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// `wick data inspect`
#[derive(Clone, Debug, clap::Args)]
pub struct InspectCommand {
    #[command(flatten)]
    pub rows: RowArgs,
    /// Count the tokens of this model, and show what it would learn
    #[arg(long, value_name = "MODEL|RUN")]
    pub model: Option<String>,
    /// How a plain model is prompted: auto, alpaca, chat, raw (a run has its own template)
    #[arg(long, value_name = "TEMPLATE", requires = "model")]
    pub template: Option<String>,
    /// Stage that the report is about [default: the one that the rows are for]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<Stage>,
    /// Count the records that are longer than this, in tokens
    #[arg(long, value_name = "N", default_value_t = MAX_LEN)]
    pub max_len: usize,
    /// Answers of a conversation that sft learns: all, last [default: all]
    #[arg(long, value_name = "WHICH", value_parser = train_on)]
    pub train_on: Option<TrainOn>,
    /// Count the prompts that this file, directory or pattern has, too
    #[arg(long, value_name = "PATH")]
    pub with: Option<PathBuf>,
    /// Records to show
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Look at the first N rows only
    #[arg(long = "rows", value_name = "N")]
    pub first_rows: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Colour what is learnt; elsewhere it stands in ⟦ ⟧
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// When the output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

impl Color {
    fn is_on(self) -> bool {
        let has_no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Auto => std::io::stdout().is_terminal() && !has_no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

fn train_on(text: &str) -> Result<TrainOn, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

impl InspectCommand {
    pub(crate) fn train_on(&self) -> TrainOn {
        self.train_on.unwrap_or(TrainOn::All)
    }

    /// Prints the report.
    ///
    /// # Errors
    /// As [`InspectCommand::report`].
    pub fn execute(&self) -> Result<()> {
        let report = self.report()?;
        match self.json {
            true => run::print(&(serde_json::to_string_pretty(&report)? + "\n")),
            false => run::print(&report.text(self.color.is_on())),
        }
    }

    /// Reads the rows and says what they hold.
    ///
    /// # Errors
    /// If a path names no files, no row of any file can be read, `--with` cannot be read, or the
    /// model cannot be opened.
    pub fn report(&self) -> Result<Report> {
        ensure!(
            self.first_rows != Some(0),
            "--rows 0 leaves nothing to look at"
        );
        ensure!(
            self.max_len > 1,
            "--max-len {} leaves no room for an answer",
            self.max_len
        );
        let paths = self.rows.paths()?;
        let options = self.rows.options(self.train_on());
        let stage = match self.stage {
            Some(stage) => Some(stage),
            None => Stage::of_files(&self.rows, &options)?,
        };
        let meta = self
            .model
            .as_deref()
            .map(|model| self.open(model))
            .transpose()?;
        let tokens = meta
            .as_ref()
            .map(|meta| Tokens::new(meta.encoder.clone(), self.train_on()));
        let overlap = self
            .with
            .as_deref()
            .map(|path| Overlap::new(path, &options));
        let looking = Looking {
            only: self.rows.only.as_ref(),
            n_examples: self.examples,
            train_on: self.train_on(),
        };
        let mut survey = Survey::new(looking, stage, tokens, overlap.transpose()?);
        let mut read = PathRows::default();
        let is_enough = |n: u64| self.first_rows.is_some_and(|max| n >= max);
        for path in paths.iter() {
            if is_enough(survey.n_rows) {
                break;
            }
            let rows = data::each_row(path, &options, &mut |row| {
                survey.add(&row);
                Ok(match is_enough(survey.n_rows) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            })?;
            read.files.extend(rows.files);
            read.notes.extend(rows.notes);
        }
        require_rows(&read.files)?;
        let template = meta.as_ref().filter(|meta| !meta.is_of_run());
        let template = template.map(|meta| meta.template.name());
        Ok(self.finish(survey, read, template))
    }

    fn open(&self, model: &str) -> Result<PolicyMeta> {
        let template = TemplateChoice::parse(self.template.as_deref().unwrap_or("auto"))?;
        PolicyMeta::open(PolicyText::from(model), template, None, Fetch::Shape)
    }

    fn finish(&self, mut survey: Survey, read: PathRows, template: Option<&str>) -> Report {
        for file in &read.files {
            for tally in &mut survey.tallies {
                let place = || file.path.display().to_string();
                let n_too_big = file.n_too_big as u64;
                tally.dropped.add(row_files::TOO_BIG, n_too_big, place);
                let n_errors = u64::from(file.error.is_some());
                tally
                    .refused
                    .add("a file that cannot be read to its end", n_errors, place);
            }
        }
        let main = survey.stage as usize;
        let lengths = self.lengths(&mut survey);
        let findings = findings(&mut survey, lengths.as_ref());
        let n_prompts = survey.duplicates.distinct_prompts as usize;
        let share = survey.stage.held_out();
        let n_rows = read.files.iter().map(|file| file.n_rows as u64).sum();
        Report {
            paths: self.rows.paths.clone(),
            files: read.files.iter().map(file_facts).collect(),
            notes: read.notes,
            rows: n_rows,
            is_beginning: self.first_rows.is_some_and(|max| n_rows >= max),
            format: self.format(&survey),
            stage: survey.stage,
            stages: self.stages(&survey, template),
            fields: survey.tallies[main].fields.list(),
            further_fields: survey.tallies[main].fields.n_others(),
            held_out: HeldOut {
                share,
                prompts: data::n_held_out(n_prompts, share) as u64,
            },
            duplicates: survey.duplicates,
            overlap: survey.overlap.map(|overlap| overlap.facts()),
            lengths,
            conversations: survey.conversations.facts(),
            findings,
            examples: survey.examples,
        }
    }

    fn format(&self, survey: &Survey) -> Option<FormatFacts> {
        let order = [survey.stage, Stage::Rm, Stage::Sft, Stage::Rlhf];
        let found = order
            .iter()
            .find_map(|stage| survey.tallies[*stage as usize].format.clone());
        let (name, fields, decided_by) = found?;
        Some(FormatFacts {
            name: name.to_string(),
            fields: fields.to_string(),
            is_given: self.rows.format != Format::Auto,
            decided_by,
        })
    }

    fn stages(&self, survey: &Survey, template: Option<&str>) -> Vec<StageFacts> {
        let settings = Settings {
            rows: &self.rows,
            model: self.model.as_deref(),
            template,
            template_is_given: self.template.as_deref().is_some_and(|name| name != "auto"),
            max_len: self.max_len,
            learns_last: self.train_on == Some(TrainOn::Last),
        };
        let facts = Stage::ALL.into_iter().map(|stage| {
            let tally = &survey.tallies[stage as usize];
            let refused = tally.refused.list();
            let takes = refused.is_empty() && tally.n_records > 0;
            StageFacts {
                stage,
                takes,
                records: tally.n_records,
                refused,
                dropped: tally.dropped.list(),
                command: takes.then(|| command(stage, &settings)),
            }
        });
        facts.collect()
    }

    fn lengths(&self, survey: &mut Survey) -> Option<LengthReport> {
        let [prompt, answer, whole] = &survey.characters;
        let n = whole.facts()?.n;
        let characters = LengthReport {
            unit: "characters",
            counted: n,
            of: n,
            prompt: prompt.facts(),
            answer: answer.facts(),
            whole: whole.facts(),
            histogram: whole.histogram(),
            max_len: self.max_len,
            longer: None,
        };
        let Some(tokens) = &mut survey.tokens else {
            return Some(characters);
        };
        let lengths = tokens.lengths();
        Some(LengthReport {
            unit: "tokens",
            counted: lengths.n_counted,
            of: lengths.n_all,
            prompt: lengths.prompt.facts(),
            answer: lengths.answer.facts(),
            whole: lengths.whole.facts(),
            histogram: lengths.whole.histogram(),
            longer: Some(lengths.whole.n_above(self.max_len)),
            ..characters
        })
    }
}

/// What is to be said of the formats of several files and of the tokens. What a row's tokens would
/// stop the stage at is counted as refused.
fn findings(survey: &mut Survey, lengths: Option<&LengthReport>) -> Vec<String> {
    let mut findings = Vec::new();
    let tally = &mut survey.tallies[survey.stage as usize];
    if tally.formats.len() > 1 {
        let names: Vec<&str> = tally.formats.iter().copied().collect();
        let names = names.join(", ");
        findings.push(format!("the files are in different formats: {names}"));
    }
    let Some(tokens) = &survey.tokens else {
        return findings;
    };
    for failure in tokens.failures.list() {
        let place = || failure.first.clone();
        tally.refused.add(&failure.reason, failure.rows, place);
    }
    let notes = tokens.encoder.row_notes("these");
    if tokens.is_sample() && !notes.is_empty() {
        findings.push("the next notes are of the records that were tokenised".into());
    }
    findings.extend(notes);
    let whole = lengths.and_then(|lengths| lengths.whole.as_ref());
    if whole.is_some_and(|whole| whole.max > MAX_EXACT) {
        findings.push(format!("lengths above {MAX_EXACT} tokens are lower bounds"));
    }
    findings
}

/// Fails if no row was read.
fn require_rows(files: &[FileRows]) -> Result<()> {
    if files.iter().any(|file| file.n_rows > 0) {
        return Ok(());
    }
    let mut errors = files.iter().filter_map(|file| file.error.as_deref());
    let first = errors.next().unwrap_or("there are no files");
    match errors.count() {
        0 => bail!("{first}"),
        n => bail!("none of {} files can be read: {first}", n + 1),
    }
}

fn file_facts(file: &FileRows) -> FileFacts {
    let found = row_files::container(&file.path);
    let found = found.as_ref();
    let is_pipe = std::fs::metadata(&file.path).is_ok_and(|m| !m.is_file());
    let pipe = is_pipe.then(|| "a pipe".to_string());
    FileFacts {
        path: file.path.display().to_string(),
        container: found.map(|container| container.what.to_string()).or(pipe),
        compression: found
            .and_then(|container| container.compression)
            .map(str::to_string),
        bytes: found.map(|container| container.n_bytes),
        rows: file.n_rows as u64,
        error: file.error.clone(),
    }
}
