//! Where the rows of a run's steps come from: prompts to sample for, a pool of stored responses, or
//! pairs of the data.

use crate::config::Config;
use crate::data::{self, Answered, Task, TrainingRows};
use crate::pool::ResponsePool;
use crate::row::{Row, experience};
use crate::step_rows::{SamplingCost, StepRows};
use ::data::{Cursor, Encoder, Examples, Loader, Mixture};
use algorithms::Metrics;
use algorithms::{DataSource, PoolRequirements, Requirements};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

/// The data of a run, and the run's position in it.
pub(crate) enum RowSource {
    /// Prompts, whose responses are sampled anew at each step
    Prompts(Stream<1>),
    Pool(Box<ResponsePool>),
    /// Chosen, rejected
    Pairs(Stream<2>),
}

/// Rows in the order in which a run takes them.
pub(crate) struct Stream<const N: usize> {
    pub rows: Examples<N>,
    pub mixture: Mixture,
    loader: Loader,
}

impl RowSource {
    pub fn new(
        rows: TrainingRows,
        needs: &Requirements,
        encoder: &Encoder,
        config: &Config,
    ) -> Result<Self> {
        let source = match (rows, &needs.source) {
            (TrainingRows::Prompts(rows), DataSource::Pool(pool)) => {
                let answers = answers(rows, encoder)?;
                let tasks = answers.into_iter().map(|(task, _)| task).collect();
                Self::pool(pool, tasks, Vec::new(), config)
            }
            (TrainingRows::Answers(rows), DataSource::Pool(pool)) => {
                let answers = answers(rows, encoder)?;
                Self::pool(pool, each_prompt(&answers), answers, config)
            }
            (TrainingRows::Answers(_), _) => unreachable!("answers are read for a pool"),
            (TrainingRows::Prompts(rows), _) => Self::Prompts(Stream::new(rows, config)),
            (TrainingRows::Pairs(rows), _) => Self::Pairs(Stream::new(rows, config)),
        };
        if let Some(mixture) = source.mixture() {
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

    fn pool(
        needs: &PoolRequirements,
        tasks: Vec<Rc<Task>>,
        answers: Vec<Answered<1>>,
        config: &Config,
    ) -> Self {
        let pool = ResponsePool::new(needs.clone(), tasks, answers, config.rollout.prompts);
        Self::Pool(Box::new(pool))
    }

    /// How often prompts or pairs are visited. A pool takes its rows by their weights.
    pub fn mixture(&self) -> Option<&Mixture> {
        match self {
            Self::Prompts(stream) => Some(&stream.mixture),
            Self::Pairs(stream) => Some(&stream.mixture),
            Self::Pool(_) => None,
        }
    }

    /// Rows of the data in use, for run.json: prompts, demonstrations or pairs.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Prompts(stream) => stream.rows.len(),
            Self::Pool(pool) => pool.n_rows(),
            Self::Pairs(stream) => stream.rows.len(),
        }
    }

    /// The position in the pass over prompts or pairs. A pool derives its position from the step.
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Prompts(stream) => stream.loader.cursor(),
            Self::Pairs(stream) => stream.loader.cursor(),
            Self::Pool(_) => Cursor::default(),
        }
    }

    /// Continues from the position that a checkpoint stored.
    pub fn seek(&mut self, cursor: Cursor, config: &Config) {
        match self {
            Self::Prompts(stream) => stream.loader = batches(&stream.mixture, config, cursor),
            Self::Pairs(stream) => stream.loader = batches(&stream.mixture, config, cursor),
            Self::Pool(_) => {}
        }
    }
}

/// The order in which prompts or pairs come, `rollout.prompts` a step. The loop and planning
/// iterate over the same.
pub(crate) fn batches(mixture: &Mixture, config: &Config, cursor: Cursor) -> Loader {
    Loader::new(mixture, config.rollout.prompts, config.train.seed, cursor)
}

/// The rows of a step.
struct Batch<const N: usize> {
    numbers: Vec<usize>,
    rows: Vec<Answered<N>>,
    /// They begin a pass over the data
    new_epoch: bool,
}

impl<const N: usize> Stream<N> {
    fn new(rows: Examples<N>, config: &Config) -> Self {
        let mixture = rows.mixture();
        let loader = batches(&mixture, config, Cursor::default());
        Self {
            rows,
            mixture,
            loader,
        }
    }

    /// Reads the rows of the next step. One that comes twice is one task.
    fn next(&mut self, encoder: &Encoder) -> Result<Batch<N>> {
        let numbers = self.loader.next_batch();
        let new_epoch = self.loader.cursor().index == numbers.len();
        let mut read: BTreeMap<usize, Answered<N>> = BTreeMap::new();
        for number in &numbers {
            if let Entry::Vacant(place) = read.entry(*number) {
                place.insert(data::of_row(self.rows.row(*number)?, encoder)?);
            }
        }
        Ok(Batch {
            rows: numbers.iter().map(|number| read[number].clone()).collect(),
            numbers,
            new_epoch,
        })
    }
}

/// The prompts of the next step, and whether they begin a pass over the data.
pub(crate) fn next_tasks(
    prompts: &mut Stream<1>,
    encoder: &Encoder,
) -> Result<(Vec<Rc<Task>>, bool)> {
    let batch = prompts.next(encoder)?;
    let tasks = batch.rows.into_iter().map(|(task, _)| task);
    Ok((tasks.collect(), batch.new_epoch))
}

/// The rows of the next step's pairs: chosen, then rejected. A pair is a group of its own.
pub(crate) fn next_pairs(pairs: &mut Stream<2>, encoder: &Encoder) -> Result<StepRows> {
    let batch = pairs.next(encoder)?;
    let of_pair = |(task, answers): &Answered<2>| {
        let row = |ids: &Vec<u32>| Row::new(task, ids, true, None);
        answers.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Row> = batch.rows.iter().flat_map(of_pair).collect();
    let mut exp = experience(&rows);
    exp.prompt_key = batch.numbers.iter().flat_map(|n| [*n as u64; 2]).collect();
    Ok(StepRows {
        rows,
        exp,
        new_epoch: batch.new_epoch,
        cost: SamplingCost::default(),
        metrics: Metrics::new(),
    })
}

fn answers(rows: Examples<1>, encoder: &Encoder) -> Result<Vec<Answered<1>>> {
    let rows = rows.into_rows()?.into_iter();
    rows.map(|row| data::of_row(row, encoder)).collect()
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
