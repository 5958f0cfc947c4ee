//! Which rows are read: those of the command line, or of `[data]` in the config of a stage.

use crate::Stage;
use crate::row_args::{RowArgs, data_path};
use anyhow::{Result, ensure};
use data::{DataPath, DataSet, Format, Only, ReadOptions, Selection, TooLong, TrainOn};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows that are read alike.
pub(crate) struct RowSource {
    pub paths: DataPath,
    pub options: ReadOptions,
    pub only: Option<Only>,
    /// Records that are used of it
    pub max_rows: Option<usize>,
    /// Passes over it in an epoch
    pub weight: f64,
}

/// All rows that are read, and what a config says of them.
pub(crate) struct Rows {
    pub sources: Vec<RowSource>,
    pub train_on: TrainOn,
    /// What the config itself says
    pub config_max_len: Option<usize>,
    pub config_train_on: Option<TrainOn>,
    pub is_mixture: bool,
    /// Fields that every source ignores
    pub ignore: Vec<String>,
    pub too_long: TooLong,
    /// None: the stage's default
    pub held_out: Option<f64>,
    /// The stage that the config is for, if that shows
    pub stage: Option<Stage>,
    /// `model.template` of the config
    pub template: Option<String>,
}

/// What the command line says.
pub(crate) struct Given<'a> {
    pub paths: &'a [String],
    pub args: &'a RowArgs,
    pub config: Option<&'a Path>,
    pub sets: &'a [String],
    pub train_on: Option<TrainOn>,
}

/// The keys of a stage's config that a report depends on.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StageConfig {
    data: DataKeys,
    model: ModelKeys,
    /// esrl-rlhf has one
    algorithm: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelKeys {
    template: Option<String>,
    /// esrl-rlhf has one
    policy: Option<IgnoredAny>,
}

/// `[data]` of any stage. What a report does not depend on is known, so that a wrong key is found.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DataKeys {
    path: DataPath,
    sources: Vec<DataSet>,
    format: Format,
    only: Option<Only>,
    columns: BTreeMap<String, String>,
    ignore: Vec<String>,
    max_rows: Option<usize>,
    train_on: Option<TrainOn>,
    max_len: Option<usize>,
    max_prompt_len: Option<usize>,
    too_long: TooLong,
    held_out: Option<f64>,
    eval_path: Option<IgnoredAny>,
    #[serde(rename = "memory_mb")]
    _memory_mb: Option<IgnoredAny>,
    #[serde(rename = "max_eval_rows")]
    _max_eval_rows: Option<IgnoredAny>,
}

impl Rows {
    /// Those that the command names.
    ///
    /// Errors: a path is given twice; the config cannot be read, or what it says of the rows is
    /// wrong.
    pub fn of(given: &Given) -> Result<Self> {
        let args = given.args;
        let Some(file) = given.config else {
            ensure!(
                given.sets.is_empty(),
                "--set overrides a setting of --config FILE, which is not given"
            );
            let train_on = given.train_on.unwrap_or(TrainOn::All);
            return Ok(Self {
                sources: vec![RowSource::of_args(given.paths, args, train_on)?],
                train_on,
                config_max_len: None,
                config_train_on: None,
                is_mixture: false,
                ignore: args.ignore.clone(),
                too_long: TooLong::default(),
                held_out: None,
                stage: None,
                template: None,
            });
        };
        let config: StageConfig = run::load_config(Some(file), given.sets)?;
        let mut data = config.data;
        data.ignore.extend(args.ignore.iter().cloned());
        if args.format != Format::Auto {
            data.format = args.format;
        }
        if !args.columns.is_empty() {
            data.columns = data::columns(&args.columns)?;
        }
        data.only = args.only.clone().or(data.only);
        let train_on = given.train_on.or(data.train_on).unwrap_or(TrainOn::All);
        let is_rlhf = config.algorithm.is_some() || config.model.policy.is_some();
        let max_len = match is_rlhf {
            true => data.max_prompt_len,
            false => data.max_len,
        };
        let selection = Selection {
            path: &data.path,
            sources: &data.sources,
            format: data.format,
            only: data.only.as_ref(),
            columns: &data.columns,
            ignore: &data.ignore,
            max_rows: data.max_rows,
            train_on,
            drops_tools: false,
        };
        selection.check()?;
        let sources = selection.data_sets().into_iter();
        let sources = sources
            .map(|source| RowSource::of(source, train_on))
            .collect();
        let held_out = match data.eval_path {
            Some(_) => Some(0.0),
            None => data.held_out,
        };
        Ok(Self {
            sources,
            train_on,
            config_max_len: max_len,
            config_train_on: data.train_on,
            is_mixture: !data.sources.is_empty(),
            ignore: data.ignore,
            too_long: data.too_long,
            held_out,
            stage: is_rlhf.then_some(Stage::Rlhf),
            template: config.model.template,
        })
    }

    /// The paths, each with how its rows are read.
    pub fn places(&self) -> impl Iterator<Item = (&Path, &ReadOptions)> {
        let sources = self.sources.iter();
        sources.flat_map(|source| source.paths.iter().map(|path| (path, &source.options)))
    }

    /// The paths, as they are written.
    pub fn paths(&self) -> Vec<String> {
        self.places()
            .map(|(path, _)| path.display().to_string())
            .collect()
    }
}

impl RowSource {
    pub fn of_args(paths: &[String], args: &RowArgs, train_on: TrainOn) -> Result<Self> {
        Ok(Self {
            paths: data_path(paths)?,
            options: args.options(train_on)?,
            only: args.only.clone(),
            max_rows: None,
            weight: 1.0,
        })
    }
}

impl RowSource {
    /// Of a config.
    fn of(source: DataSet, train_on: TrainOn) -> Self {
        Self {
            paths: source.path,
            options: ReadOptions {
                format: source.format.unwrap_or_default(),
                columns: source.columns,
                ignore: source.ignore,
                train_on,
                ..ReadOptions::default()
            },
            only: source.only,
            max_rows: source.max_rows,
            weight: source.weight,
        }
    }
}
