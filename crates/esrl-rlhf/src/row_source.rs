//! Where the rows of a run's steps come from: prompts to sample for, a pool of stored responses, or
//! pairs of the data.

use crate::config::Config;
use crate::data::{self, Answered, Task, TrainingRows};
use crate::pool::ResponsePool;
use crate::row::{Row, experience};
use crate::step_rows::{SamplingCost, StepRows};
use ::data::{Cursor, Loader, Mixture};
use algorithms::Metrics;
use algorithms::{DataSource, Requirements};
use anyhow::{Result, bail};
use policy::PolicyMeta;
use std::rc::Rc;

/// The data of a run, and the run's position in it.
pub(crate) enum RowSource {
    /// Prompts, whose responses are sampled anew at each step
    Prompts {
        tasks: Vec<Rc<Task>>,
        mixture: Mixture,
        loader: Loader,
    },
    Pool(Box<ResponsePool>),
    Pairs {
        pairs: Vec<Pair>,
        mixture: Mixture,
        loader: Loader,
    },
}

/// Chosen, rejected.
pub(crate) type Pair = Answered<2>;

impl RowSource {
    /// Encodes the rows. Those that do not fit are left out and counted. `weights`: how often the
    /// rows of each source are visited.
    pub fn new(
        rows: TrainingRows,
        weights: &[f64],
        needs: &Requirements,
        meta: &PolicyMeta,
        config: &Config,
    ) -> Result<Self> {
        let batch = config.rollout.prompts;
        let source = match (rows, &needs.source) {
            (TrainingRows::Prompts(prompts), DataSource::Pool(pool)) => {
                let tasks = data::tasks("training", prompts, meta, config)?;
                Self::Pool(Box::new(ResponsePool::new(
                    pool.clone(),
                    tasks,
                    Vec::new(),
                    batch,
                )))
            }
            (TrainingRows::Prompts(prompts), _) => {
                let tasks = data::tasks("training", prompts, meta, config)?;
                let sources = tasks.iter().map(|task| task.prompt.origin.source());
                let mixture = Mixture::of_sources(sources, weights);
                let loader = batches(&mixture, config, Cursor::default());
                Self::Prompts {
                    tasks,
                    mixture,
                    loader,
                }
            }
            (TrainingRows::Demonstrations(rows), data_source) => {
                let rows = rows.into_iter().map(|d| (d.prompt, [d.response])).collect();
                let answers = data::answered(rows, meta, config)?;
                let DataSource::Pool(pool) = data_source else {
                    unreachable!("demonstrations are read for a pool")
                };
                Self::Pool(Box::new(ResponsePool::new(
                    pool.clone(),
                    each_prompt(&answers),
                    answers,
                    batch,
                )))
            }
            (TrainingRows::Preferences(rows), _) => {
                let both = |p: ::data::Preference| (p.prompt, [p.chosen, p.rejected]);
                let pairs = data::answered(rows.into_iter().map(both).collect(), meta, config)?;
                let sources = pairs.iter().map(|(task, _)| task.prompt.origin.source());
                let mixture = Mixture::of_sources(sources, weights);
                let loader = batches(&mixture, config, Cursor::default());
                Self::Pairs {
                    pairs,
                    mixture,
                    loader,
                }
            }
        };
        if let Self::Prompts { mixture, .. } | Self::Pairs { mixture, .. } = &source {
            ::data::report_mixture(&config.data.selection(), mixture);
        }
        if source.n_rows() == 0 {
            bail!(
                "{}: no row is left to train on; raise data.max_prompt_len or change rollout.max_new_tokens",
                config.data.selection().shown()
            );
        }
        Ok(source)
    }

    /// Rows of the data in use, for run.json: prompts, demonstrations or pairs.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Prompts { tasks, .. } => tasks.len(),
            Self::Pool(pool) => pool.n_rows(),
            Self::Pairs { pairs, .. } => pairs.len(),
        }
    }

    /// The position in the pass over prompts or pairs. A pool derives its position from the step.
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Prompts { loader, .. } | Self::Pairs { loader, .. } => loader.cursor(),
            Self::Pool(_) => Cursor::default(),
        }
    }

    /// Continues from the position that a checkpoint stored.
    pub fn seek(&mut self, cursor: Cursor, config: &Config) {
        if let Self::Prompts {
            loader, mixture, ..
        }
        | Self::Pairs {
            loader, mixture, ..
        } = self
        {
            *loader = batches(mixture, config, cursor);
        }
    }
}

/// The order in which prompts or pairs come, `rollout.prompts` a step. The loop and planning
/// iterate over the same.
pub(crate) fn batches(mixture: &Mixture, config: &Config, cursor: Cursor) -> Loader {
    Loader::new(mixture, config.rollout.prompts, config.train.seed, cursor)
}

/// The prompts of the next step, and whether they begin a pass over the data.
pub(crate) fn next_tasks(tasks: &[Rc<Task>], loader: &mut Loader) -> (Vec<Rc<Task>>, bool) {
    let (batch, new_epoch) = next_batch(loader);
    let tasks = batch.iter().map(|i| Rc::clone(&tasks[*i])).collect();
    (tasks, new_epoch)
}

/// The rows of the next step's pairs: chosen, then rejected. A pair is a group of its own.
pub(crate) fn next_pairs(pairs: &[Pair], loader: &mut Loader) -> StepRows {
    let (batch, new_epoch) = next_batch(loader);
    let of_pair = |i: &usize| {
        let (task, answers) = &pairs[*i];
        let row = |ids: &Vec<u32>| Row::new(task, ids, true, None);
        answers.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Row> = batch.iter().flat_map(of_pair).collect();
    let mut exp = experience(&rows);
    exp.prompt_key = batch.iter().flat_map(|n| [*n as u64; 2]).collect();
    StepRows {
        rows,
        exp,
        new_epoch,
        cost: SamplingCost::default(),
        metrics: Metrics::new(),
    }
}

fn next_batch(loader: &mut Loader) -> (Vec<usize>, bool) {
    let batch = loader.next_batch();
    let new_epoch = loader.cursor().index == batch.len();
    (batch, new_epoch)
}

/// The prompts of the answers, each once, in order.
fn each_prompt(answers: &[Answered<1>]) -> Vec<Rc<Task>> {
    let mut seen = std::collections::HashSet::new();
    let new = |(task, _): &&Answered<1>| seen.insert(task.key);
    answers
        .iter()
        .filter(new)
        .map(|(task, _)| Rc::clone(task))
        .collect()
}
