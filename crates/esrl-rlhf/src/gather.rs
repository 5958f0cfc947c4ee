//! The first half of a step: rows to learn from and their scores, sampled now or stored.

use crate::data::Task;
use crate::feed::{self, Feed};
use crate::learner::{Learner, Metrics};
use crate::pool::{self, Cost};
use crate::rollout::{self, Draw, ROLLOUT};
use crate::row::{Row, experience};
use crate::step_timer::StepTimer;
use algorithms::Experience;
use anyhow::{Result, bail};
use run::Run;
use std::rc::Rc;

/// Rows of a step before any model has read them.
pub(crate) struct Gathered {
    pub rows: Vec<Row>,
    pub exp: Experience,
    pub new_epoch: bool,
    pub cost: Cost,
    pub metrics: Metrics,
}

impl Learner<'_> {
    /// The step's rows and their scores.
    pub fn gather(&mut self, step: u64, run: &Run, timer: &mut StepTimer) -> Result<Gathered> {
        let draw = self.draw(step);
        let gathered = match &mut self.feed {
            Feed::Rollouts { tasks, loader } => {
                let (batch, new_epoch) = feed::next(loader);
                let tasks: Vec<Rc<Task>> = batch.iter().map(|i| Rc::clone(&tasks[*i])).collect();
                return self.rollouts(step, &tasks, new_epoch, timer);
            }
            Feed::Pool(pool) => {
                let pool::Batch {
                    rows,
                    exp,
                    new_epoch,
                    cost,
                    metrics,
                } = pool.next(step, self.algorithm.as_ref(), &mut self.roles, draw, run)?;
                Gathered {
                    rows,
                    exp,
                    new_epoch,
                    cost,
                    metrics,
                }
            }
            Feed::Pairs { pairs, loader } => {
                let (batch, new_epoch) = feed::next(loader);
                let chosen: Vec<&feed::Pair> = batch.iter().map(|i| &pairs[*i]).collect();
                let (rows, exp) = feed::rows_of_pairs(&chosen, &batch);
                Gathered {
                    rows,
                    exp,
                    new_epoch,
                    cost: Cost::default(),
                    metrics: Metrics::new(),
                }
            }
        };
        timer.record("time/pool");
        Ok(gathered)
    }

    /// Samples for the prompts, and scores.
    fn rollouts(
        &mut self,
        step: u64,
        tasks: &[Rc<Task>],
        new_epoch: bool,
        timer: &mut StepTimer,
    ) -> Result<Gathered> {
        let draw = self.draw(step);
        let needs = self.algorithm.requirements();
        let keys: Vec<u64> = tasks.iter().map(|t| t.key).collect();

        // 1. plan: how many samples and which temperature each prompt gets
        let (estimates, greedy_tokens) =
            rollout::estimates(&mut self.roles, self.algorithm.as_ref(), tasks, draw)?;
        self.algorithm.observe(&estimates);
        let plan = self.algorithm.plan(&keys, step)?;
        timer.record("time/estimate");

        // 2. sample without a graph
        let policy = self.roles.policy.frozen();
        let mut rows = rollout::sample(
            &self.roles,
            Some(&policy),
            tasks,
            &plan,
            Draw {
                keep_states: rollout::keeps_states(self.config, &needs, self.roles.samples_apart()),
                ..draw
            },
            ROLLOUT,
            &mut |_, _| {},
        )?;
        let tokens: usize = rows.iter().map(|row| row.response().len()).sum();
        let cost = Cost {
            samples: rows.len() + estimates.len(),
            tokens: tokens + greedy_tokens,
        };
        if needs.reference_answer {
            let room = self.config.rollout.max_new_tokens;
            rows = rollout::with_reference_answers(&self.roles, rows, room)?;
        }
        let exp = experience(&rows);
        let keep = self.algorithm.keep(&exp);
        let kept: Vec<usize> = (0..keep.len()).filter(|i| keep[*i]).collect();
        let mut exp = exp.select(&kept);
        let rows: Vec<Row> = rows
            .into_iter()
            .zip(&keep)
            .filter(|(_, keep)| **keep)
            .map(|(row, _)| row)
            .collect();
        if rows.is_empty() {
            bail!("the algorithm kept no rollout; give it more prompts per step");
        }
        timer.record("time/sample");

        // 3. score
        let scored = rollout::reward(&mut self.roles, &rows)?;
        let metrics = rollout::means(&scored);
        exp.score = scored.total;
        if let Some(kind) = needs.text_metric {
            exp.text_metric = rollout::metric(&self.roles, kind, &rows)?;
        }
        timer.record("time/reward");
        Ok(Gathered {
            rows,
            exp,
            new_epoch,
            cost,
            metrics,
        })
    }
}
