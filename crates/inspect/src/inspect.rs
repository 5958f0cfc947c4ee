//! `wick data inspect`.

use crate::Stage;
use crate::files::require_rows;
use crate::finish::{Finish, own_template};
use crate::max_len::MaxLen;
use crate::overlap::Overlap;
use crate::report::{Report, TemplateFacts};
use crate::row_args::RowArgs;
use crate::row_source::{Given, Rows};
use crate::survey::{Looking, Survey};
use crate::tokens::Tokens;
use anyhow::{Result, ensure};
use data::{PathRows, TrainOn};
use models::Fetch;
use policy::{PolicyMeta, PolicyText, TemplateChoice};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// `wick data inspect`
#[derive(Clone, Debug, clap::Args)]
pub struct InspectCommand {
    /// Files, directories of data files, patterns such as 'part-*.jsonl', data sets of the hub
    #[arg(
        value_name = "PATH",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub paths: Vec<String>,
    /// Read the rows of [data] in this config of a stage, as it reads them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting of the config, e.g. --set data.max_len=256 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
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
    /// Tokens of the longest sequence that is used [default: 512, or the model's context if that
    /// is less]
    #[arg(long, value_name = "N")]
    pub max_len: Option<usize>,
    /// Answers of a conversation that sft learns: all, last [default: all]
    #[arg(long, value_name = "WHICH", value_parser = train_on)]
    pub train_on: Option<TrainOn>,
    /// Count the prompts that this file, directory or pattern has, too
    #[arg(long, value_name = "PATH")]
    pub with: Option<PathBuf>,
    /// Records to show; of several paths each has its share
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Look at the first N rows of each path only
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
    /// If a path names no files, no row of any file can be read, `--with` or `--config` cannot be
    /// read, or the model cannot be opened or has a shorter context than `--max-len`.
    pub fn report(&self) -> Result<Report> {
        ensure!(
            self.first_rows != Some(0),
            "--rows 0 leaves nothing to look at"
        );
        let given = Given {
            paths: &self.paths,
            args: &self.rows,
            config: self.config.as_deref(),
            sets: &self.sets,
            train_on: self.train_on,
        };
        let rows = Rows::of(&given)?;
        data::distinct_files(rows.places().map(|(path, _)| path))?;
        let stage = match self.stage.or(rows.stage) {
            Some(stage) => Some(stage),
            None => Stage::of_files(rows.places())?,
        };
        let meta = self.model.as_deref();
        let meta = meta.map(|model| self.open(model, &rows)).transpose()?;
        let max_len = MaxLen::new(self.max_len, rows.config_max_len, meta.as_ref())?;
        let tokens = meta
            .as_ref()
            .map(|meta| Tokens::new(meta.encoder.clone(), rows.train_on));
        let first = rows.sources.first().expect("paths are given");
        let overlap = self.with.as_deref();
        let overlap = overlap.map(|path| Overlap::new(path, &first.options));
        let looking = Looking {
            n_examples: self.examples.div_ceil(rows.paths().len()),
            train_on: rows.train_on,
        };
        let mut survey = Survey::new(looking, first, stage, tokens, overlap.transpose()?);
        let read = self.read(&rows, &mut survey)?;
        require_rows(&read.files)?;
        let is_beginning = survey.is_beginning;
        let report = Finish {
            given: &given,
            model: self.model.as_deref(),
            rows: &rows,
            template: meta
                .as_ref()
                .map(|meta| self.template_facts(meta, &rows, &survey)),
            meta: meta.as_ref(),
            max_len,
        };
        Ok(report.of(survey, read, is_beginning))
    }

    /// Reads the rows of every path.
    fn read<'a>(&self, rows: &'a Rows, survey: &mut Survey<'a>) -> Result<PathRows> {
        let mut read = PathRows::default();
        for source in &rows.sources {
            survey.begin_source(source);
            for path in source.paths.iter() {
                survey.begin_path();
                let mut n_left = self.first_rows;
                let found = data::each_row(path, &source.options, &mut |row| {
                    survey.add(&row);
                    n_left = n_left.map(|n| n - 1);
                    Ok(match n_left {
                        Some(0) => ControlFlow::Break(()),
                        _ => ControlFlow::Continue(()),
                    })
                })?;
                survey.is_beginning |= n_left == Some(0);
                read.files.extend(found.files);
                let named = |note| format!("{}: {note}", path.display());
                read.notes.extend(found.notes.into_iter().map(named));
                let (all, new) = (&mut read.stages, found.stages);
                for (all, new) in [
                    (&mut all.demonstrations, new.demonstrations),
                    (&mut all.preferences, new.preferences),
                    (&mut all.prompts, new.prompts),
                ] {
                    all.extend(new.into_iter().map(named));
                }
            }
        }
        Ok(read)
    }

    /// The template that is asked for.
    fn template<'a>(&'a self, rows: &'a Rows) -> &'a str {
        let asked = self.template.as_deref().or(rows.template.as_deref());
        asked.unwrap_or("auto")
    }

    fn open(&self, model: &str, rows: &Rows) -> Result<PolicyMeta> {
        let template = TemplateChoice::parse(self.template(rows))?;
        PolicyMeta::open(PolicyText::from(model), template, None, Fetch::Shape)
    }

    fn template_facts(&self, meta: &PolicyMeta, rows: &Rows, survey: &Survey) -> TemplateFacts {
        let name = meta.template.name();
        let is_given = self.template(rows) != "auto";
        let of = match (meta.is_of_run(), is_given, name) {
            (true, ..) => "run",
            (false, true, _) => "given",
            (false, false, "chat") => "model",
            (false, false, _) => "default",
        };
        let default = survey.stage.default_template(own_template(meta));
        TemplateFacts {
            name,
            of,
            default: (of != "run" && default != name).then_some(default),
        }
    }
}
