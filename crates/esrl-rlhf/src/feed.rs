//! What the steps of a run learn from: prompts to sample for, a pool of stored responses, or pairs.

use crate::config::Config;
use crate::data::{self, Answered, Source, Task};
use crate::pool::Pool;
use crate::row::{Row, experience};
use ::data::{Cursor, Loader};
use algorithms::{Experience, PoolRequirements, Requirements};
use anyhow::{Result, bail};
use policy::PolicyMeta;
use std::rc::Rc;

pub(crate) enum Feed {
    Rollouts {
        tasks: Vec<Rc<Task>>,
        loader: Loader,
    },
    Pool(Box<Pool>),
    Pairs {
        pairs: Vec<Pair>,
        loader: Loader,
    },
}

/// Chosen, rejected.
pub(crate) type Pair = Answered<2>;

impl Feed {
    /// Encodes the rows; those that do not fit are left out, and counted.
    pub fn new(
        source: Source,
        needs: &Requirements,
        meta: &PolicyMeta,
        config: &Config,
    ) -> Result<Self> {
        let (batch, seed) = (config.rollout.prompts, config.train.seed);
        let loader = |n: usize| Loader::new(n, batch, seed, Cursor::default());
        let feed = match (source, &needs.source) {
            (Source::Prompts(prompts), algorithms::DataSource::Pool(pool)) => {
                let tasks = data::tasks("training", prompts, meta, config)?;
                Self::Pool(Box::new(Pool::new(pool.clone(), tasks, Vec::new(), batch)))
            }
            (Source::Prompts(prompts), _) => {
                let tasks = data::tasks("training", prompts, meta, config)?;
                let loader = loader(tasks.len());
                Self::Rollouts { tasks, loader }
            }
            (Source::Demonstrations(rows), feed) => {
                let rows = rows.into_iter().map(|d| (d.prompt, [d.response])).collect();
                let answers = data::answered(rows, meta, config)?;
                let algorithms::DataSource::Pool(pool) = feed else {
                    unreachable!("demonstrations are read for a pool")
                };
                Self::Pool(Box::new(Pool::new(
                    pool.clone(),
                    each_prompt(&answers),
                    answers,
                    batch,
                )))
            }
            (Source::Preferences(rows), _) => {
                let both = |p: ::data::Preference| (p.prompt, [p.chosen, p.rejected]);
                let pairs = data::answered(rows.into_iter().map(both).collect(), meta, config)?;
                let loader = loader(pairs.len());
                Self::Pairs { pairs, loader }
            }
        };
        if feed.n_rows() == 0 {
            bail!(
                "{}: no row is left to train on; raise data.max_prompt_len or change rollout.max_new_tokens",
                config.data.path.display()
            );
        }
        Ok(feed)
    }

    /// Rows of the data in use, for run.json: prompts, demonstrations or pairs.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Rollouts { tasks, .. } => tasks.len(),
            Self::Pool(pool) => pool.n_rows(),
            Self::Pairs { pairs, .. } => pairs.len(),
        }
    }

    /// Where the pass over prompts or pairs stands. A pool's place follows from the step.
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Rollouts { loader, .. } | Self::Pairs { loader, .. } => loader.cursor(),
            Self::Pool(_) => Cursor::default(),
        }
    }

    /// Goes on from a checkpoint.
    pub fn seek(&mut self, cursor: Cursor, config: &Config) {
        let n = self.n_rows();
        if let Self::Rollouts { loader, .. } | Self::Pairs { loader, .. } = self {
            *loader = Loader::new(n, config.rollout.prompts, config.train.seed, cursor);
        }
    }
}

/// The next batch, and whether it begins a pass over the data.
pub(crate) fn next(loader: &mut Loader) -> (Vec<usize>, bool) {
    let batch = loader.next_batch();
    let new_epoch = loader.cursor().index == batch.len();
    (batch, new_epoch)
}

/// Chosen and rejected row of each pair; a pair is a group of its own.
pub(crate) fn rows_of_pairs(pairs: &[&Pair], numbers: &[usize]) -> (Vec<Row>, Experience) {
    let of_pair = |(task, answers): &&Pair| {
        let row = |ids: &Vec<u32>| Row::new(task, ids, true, None);
        answers.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Row> = pairs.iter().flat_map(of_pair).collect();
    let mut exp = experience(&rows);
    exp.prompt_key = numbers.iter().flat_map(|n| [*n as u64; 2]).collect();
    (rows, exp)
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

/// Are there responses to score?
pub(crate) fn needs_scores(needs: &Requirements) -> bool {
    match &needs.source {
        algorithms::DataSource::Rollouts => true,
        algorithms::DataSource::Pool(PoolRequirements {
            score,
            prompt_value,
            ..
        }) => *score || prompt_value.is_some(),
        algorithms::DataSource::Pairs => false,
    }
}
