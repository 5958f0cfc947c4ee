//! The stored responses of an offline method ([`DataSource::Pool`](algorithms::DataSource)): made
//! once from the data, or sampled from the policy at the start of each round (ReST's D_g), scored,
//! and kept in the run directory as `pool-<step>.jsonl`. Each phase of the method weights them, and
//! each step takes some.

mod phase;
mod round;
mod stored;

use crate::config::Config;
use crate::data::{Answered, Task};
use crate::roles::Roles;
use crate::row::{Row, experience};
use crate::sample::DrawSettings;
use crate::step_rows::{SamplingCost, StepRows};
use algorithms::Metrics;
use algorithms::{Algorithm, PoolRequirements};
use anyhow::{Context, Result, ensure};
use phase::Phase;
use round::{Origin, Round};
use run::Run;
use std::rc::Rc;

/// What an offline method learns from, with its present round and phase.
pub(crate) struct ResponsePool {
    origin: Origin,
    batch: usize,
    round: Option<Round>,
    phase: Option<Phase>,
}

impl ResponsePool {
    /// `tasks`: the prompts to sample for when the pool grows. `answers`: the data's rows, empty
    /// where the method keeps none.
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

    /// Answers of the data; prompts, where the method keeps none.
    pub fn n_rows(&self) -> usize {
        self.origin.answers.len().max(self.origin.tasks.len())
    }

    /// What the method asks of its pool.
    pub fn needs(&self) -> &PoolRequirements {
        &self.origin.needs
    }

    /// Tokens of each row, prompt included: the data's answers, and sampled responses at their
    /// longest. Planning calls it.
    pub fn lens(&self, config: &Config) -> Vec<usize> {
        let answers = self.origin.answers.iter();
        let answers = answers.map(|(task, [ids])| task.ids.len() + ids.len());
        let samples = self.needs().grow.as_ref().map_or(0, |grow| grow.samples);
        let drawn = self.origin.tasks.iter().flat_map(|task| {
            std::iter::repeat_n(task.ids.len() + config.rollout.max_new_tokens, samples)
        });
        answers.chain(drawn).collect()
    }

    /// Tokens of each prompt that may be sampled for.
    pub fn prompt_lens(&self) -> Vec<usize> {
        let tasks = self.origin.tasks.iter();
        tasks.map(|task| task.ids.len()).collect()
    }

    /// Rounds made in a run of `steps` steps. Planning calls it.
    pub fn n_rounds(&self, steps: usize) -> usize {
        let grow = self.needs().grow.as_ref();
        grow.map_or(1, |grow| steps.div_ceil(grow.every.max(1) as usize))
    }

    /// Responses sampled in a run of `steps` steps. Planning calls it.
    pub fn n_drawn(&self, steps: usize) -> usize {
        let (needs, tasks) = (self.needs(), self.origin.tasks.len());
        let grown = needs.grow.as_ref().map_or(0, |grow| grow.samples * tasks);
        let valued = needs.prompt_value.as_ref();
        self.n_rounds(steps) * grown + valued.map_or(0, |fit| fit.prompts.min(tasks))
    }

    /// Makes or reads the round that `step` belongs to, weights it where a phase begins, and takes
    /// the step's rows.
    pub fn next(
        &mut self,
        step: u64,
        algorithm: &dyn Algorithm,
        roles: &mut Roles,
        settings: DrawSettings,
        run: &Run,
    ) -> Result<StepRows> {
        let start = match &self.origin.needs.grow {
            Some(grow) => step - step % grow.every.max(1),
            None => 0,
        };
        if self.round.as_ref().is_none_or(|round| round.start != start) {
            self.round = Some(self.open_round(start, step, roles, settings, run)?);
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
            // A run resumed within the phase has logged them.
            if phase.start == step {
                metrics.extend(found);
                metrics.insert("pool/rows".into(), round.rows.len() as f64);
                metrics.insert("pool/rows_kept".into(), phase.kept.len() as f64);
            }
            self.phase = Some(phase);
        }
        let phase = self.phase.as_ref().expect("just weighed");
        let nth = step - phase.start;
        let per_epoch = steps_per_epoch(phase.kept.len(), self.batch) as u64;
        let mut at = match self.origin.needs.replacement {
            true => phase.by_weight(self.batch, settings.seed, step),
            false => phase.of_epoch(self.batch, settings.seed, nth / per_epoch, nth % per_epoch),
        };
        // A prompt's rows stay together.
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
        Ok(StepRows {
            rows,
            exp,
            new_epoch: nth.is_multiple_of(per_epoch),
            cost: if step == start {
                round.cost
            } else {
                SamplingCost::default()
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
        settings: DrawSettings,
        run: &Run,
    ) -> Result<Round> {
        let name = format!("pool-{start:06}.jsonl");
        let file = run.dir().join(&name);
        if file.is_file() {
            let text = stored::read(&file)?;
            let (round, rewards) = self
                .origin
                .parse(&text)
                .with_context(|| format!("{} is corrupt or of other data", file.display()))?;
            // The run was killed after it had scored the round, before a checkpoint.
            if start == step {
                roles.rewards.restore(&rewards)?;
            }
            return Ok(round);
        }
        ensure!(
            start == step,
            "{} is missing; the run cannot continue from step {step}",
            file.display()
        );
        let settings = DrawSettings {
            step: start,
            ..settings
        };
        let round = self.origin.make(start, roles, settings)?;
        let text = round.to_jsonl(roles.rewards.state())?;
        run.write_with_sum(&name, text.as_bytes())?;
        Ok(round)
    }
}

/// Steps of a pass over `n_kept` rows, `batch` a step.
pub(crate) fn steps_per_epoch(n_kept: usize, batch: usize) -> usize {
    n_kept.div_ceil(batch)
}
