//! The stored responses of an offline method ([`DataSource::Pool`](algorithms::DataSource)): made once from the data, or drawn from the
//! policy at the start of each round (ReST's D_g), scored, and kept in the run directory as `pool-<step>.jsonl`. Each phase
//! of the method weighs them, and each step takes some.

mod phase;
mod round;
mod stored;

use crate::config::Config;
use crate::data::{Answered, Task};
use crate::learner::Metrics;
use crate::roles::Roles;
use crate::rollout::Draw;
use crate::row::{Row, experience};
use algorithms::{Algorithm, Experience, PoolRequirements};
use anyhow::{Context, Result, ensure};
use phase::Phase;
use round::{Origin, Round};
use run::Run;
use std::rc::Rc;

pub(crate) use round::Cost;

pub(crate) struct Pool {
    origin: Origin,
    batch: usize,
    round: Option<Round>,
    phase: Option<Phase>,
}

/// The rows of one step.
pub(crate) struct Batch {
    pub rows: Vec<Row>,
    pub exp: Experience,
    /// The step begins a pass over the rows in use
    pub new_epoch: bool,
    pub cost: Cost,
    pub metrics: Metrics,
}

impl Pool {
    /// `tasks` are drawn for when the pool grows; `answers` are the data's rows, empty where the method keeps none.
    pub fn new(
        needs: PoolRequirements,
        tasks: Vec<Rc<Task>>,
        answers: Vec<Answered<1>>,
        batch: usize,
    ) -> Self {
        Self {
            origin: Origin {
                needs,
                tasks,
                answers,
            },
            batch,
            round: None,
            phase: None,
        }
    }

    /// Answers of the data, or prompts where the method keeps none.
    pub fn n_rows(&self) -> usize {
        self.origin.answers.len().max(self.origin.tasks.len())
    }

    pub fn needs(&self) -> &PoolRequirements {
        &self.origin.needs
    }

    /// Tokens of its rows: the data's own answers, and those that it will draw at their longest.
    pub fn lens(&self, config: &Config) -> Vec<usize> {
        let answers = self.origin.answers.iter();
        let answers = answers.map(|(task, [ids])| task.ids.len() + ids.len());
        let samples = self.needs().grow.as_ref().map_or(0, |grow| grow.samples);
        let drawn = self.origin.tasks.iter().flat_map(|task| {
            std::iter::repeat_n(task.ids.len() + config.rollout.max_new_tokens, samples)
        });
        answers.chain(drawn).collect()
    }

    /// Tokens of the prompts that may be drawn for.
    pub fn prompt_lens(&self) -> Vec<usize> {
        let tasks = self.origin.tasks.iter();
        tasks.map(|task| task.ids.len()).collect()
    }

    /// Responses that are drawn in so many steps.
    pub fn n_drawn(&self, steps: usize) -> usize {
        let PoolRequirements {
            grow, prompt_value, ..
        } = self.needs();
        let tasks = self.origin.tasks.len();
        let rounds = |every: u64| steps.div_ceil(every.max(1) as usize);
        let grown = grow
            .as_ref()
            .map_or(0, |grow| rounds(grow.every) * grow.samples * tasks);
        let valued = prompt_value
            .as_ref()
            .map_or(0, |fit| fit.prompts.min(tasks));
        grown + valued
    }

    /// Makes or reads the round that `step` belongs to, weighs it where a phase begins, and takes the step's rows.
    pub fn next(
        &mut self,
        step: u64,
        algorithm: &dyn Algorithm,
        roles: &mut Roles,
        draw: Draw,
        run: &Run,
    ) -> Result<Batch> {
        let start = match &self.origin.needs.grow {
            Some(grow) => step - step % grow.every.max(1),
            None => 0,
        };
        if self.round.as_ref().is_none_or(|round| round.start != start) {
            self.round = Some(self.open_round(start, step, roles, draw, run)?);
            self.phase = None;
        }
        let round = self.round.as_ref().expect("just opened");
        let mut metrics = Metrics::new();
        if step == start {
            let means = round.means.iter();
            metrics.extend(means.map(|(name, mean)| (name.clone(), f64::from(*mean))));
        }
        let number = algorithm.phase(step);
        if self
            .phase
            .as_ref()
            .is_none_or(|phase| phase.number != number)
        {
            let (phase, found) = phase::weigh(algorithm, &round.columns, number, step)?;
            // a run resumed within the phase has logged them
            if phase.start == step {
                metrics.extend(found);
                metrics.insert("pool/rows".into(), round.rows.len() as f64);
                metrics.insert("pool/rows_kept".into(), phase.kept.len() as f64);
            }
            self.phase = Some(phase);
        }
        let phase = self.phase.as_ref().expect("just weighed");
        let nth = step - phase.start;
        let per_epoch = phase.kept.len().div_ceil(self.batch) as u64;
        let mut at = match self.origin.needs.replacement {
            true => phase.by_weight(self.batch, draw.seed, step),
            false => phase.of_epoch(self.batch, draw.seed, nth / per_epoch, nth % per_epoch),
        };
        // one prompt's rows together
        at.sort_by_key(|i| (round.columns.prompt_key[*i], *i));
        let rows: Vec<Row> = at.iter().map(|i| round.rows[*i].again()).collect();
        let mut exp = experience(&rows);
        exp.sampled = at.iter().map(|i| round.columns.sampled[*i]).collect();
        exp.weight = at.iter().map(|i| phase.weight(*i) as f32).collect();
        for (column, from) in [
            (&mut exp.score, &round.columns.score),
            (&mut exp.prompt_value, &round.columns.prompt_value),
        ] {
            if !from.is_empty() {
                *column = at.iter().map(|i| from[*i]).collect();
            }
        }
        Ok(Batch {
            rows,
            exp,
            new_epoch: nth.is_multiple_of(per_epoch),
            cost: if step == start {
                round.cost
            } else {
                Cost::default()
            },
            metrics,
        })
    }

    /// Reads the round from the run directory, or makes it there.
    fn open_round(
        &self,
        start: u64,
        step: u64,
        roles: &mut Roles,
        draw: Draw,
        run: &Run,
    ) -> Result<Round> {
        let name = format!("pool-{start:06}.jsonl");
        let file = run.dir().join(&name);
        if file.is_file() {
            let text = stored::read(&file)?;
            let (round, rewards) = self
                .origin
                .parse(&text)
                .with_context(|| format!("{} is damaged or of other data", file.display()))?;
            // a run that was killed after it had scored the round, before a checkpoint
            if start == step {
                roles.rewards.restore(&rewards)?;
            }
            return Ok(round);
        }
        ensure!(
            start == step,
            "{} is missing; the run cannot go on from step {step}",
            file.display()
        );
        let draw = Draw {
            step: start,
            ..draw
        };
        let round = self.origin.make(start, roles, draw)?;
        stored::write(run, &name, &round.to_jsonl(roles.rewards.state())?)?;
        Ok(round)
    }
}
