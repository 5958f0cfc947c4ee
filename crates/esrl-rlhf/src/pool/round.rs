//! How a round of the pool is made: the data's answers and the policy's samples, their scores, and
//! V_ref of their prompts.

use crate::data::{Answered, Task};
use crate::prompt_value;
use crate::roles::Roles;
use crate::row::Row;
use crate::sample::{self, DrawSettings, DrawStream, DrawWeights};
use crate::score;
use crate::step_rows::SamplingCost;
use algorithms::{Grow, PoolRequirements, SamplingPlan, ValueFit};
use anyhow::Result;
use rand::seq::SliceRandom;
use rewards::Readings;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What rounds are made from.
pub(super) struct Origin {
    pub needs: PoolRequirements,
    /// Prompts to sample for, each once, in the order of the data
    pub tasks: Vec<Rc<Task>>,
    /// The data's own answers: prompt and response ids with EOS
    pub answers: Vec<Answered<1>>,
}

/// Rows with their scores; `columns` is what the algorithm sees.
pub(super) struct Round {
    /// The step at which it begins
    pub start: u64,
    pub rows: Vec<Row>,
    pub columns: algorithms::PoolColumns,
    pub cost: SamplingCost,
    /// `reward/<source>`: mean score of the rows
    pub means: BTreeMap<String, f32>,
}

impl Origin {
    /// Samples, scores and, where the method asks, estimates V_ref.
    pub fn make(&self, start: u64, roles: &mut Roles, settings: DrawSettings) -> Result<Round> {
        let mut means = BTreeMap::new();
        let mut cost = SamplingCost::default();
        let mut rows: Vec<Row> = Vec::new();
        let mut sampled = Vec::new();
        if let Some(grow) = &self.needs.grow {
            rows = self.grow(grow, roles, settings)?;
            sampled = vec![true; rows.len()];
            cost.add(&rows);
        }
        rows.extend(
            self.answers
                .iter()
                .map(|(task, [ids])| Row::new(task, ids, true, None)),
        );
        sampled.resize(rows.len(), false);
        let mut columns = algorithms::PoolColumns {
            prompt_key: rows.iter().map(|row| row.task.key).collect(),
            lens: rows.iter().map(|row| row.response().len()).collect(),
            response_key: rows.iter().map(Row::response_key).collect(),
            sampled,
            ..algorithms::PoolColumns::default()
        };
        if self.needs.score {
            let mut readings = read(roles, &rows, "score the pool")?;
            let named = score::means(&roles.rewards.plain_sum(&readings));
            means = named
                .into_iter()
                .map(|(n, mean)| (n, mean as f32))
                .collect();
            // The reference's answers are scored in one batch with the pool, so that V_ref is on
            // the scale of R.
            let fit = self.needs.prompt_value.as_ref();
            let answers = match fit {
                Some(fit) => self.of_reference(fit, roles, settings)?,
                None => Vec::new(),
            };
            cost.add(&answers);
            readings.extend(read(roles, &answers, "score the reference")?);
            columns.score = self.scores(roles, &readings);
            let targets = columns.score.split_off(rows.len());
            if let Some(fit) = fit {
                columns.prompt_value =
                    prompt_values(fit, &rows, &answers, &targets, roles, settings)?;
            }
        }
        Ok(Round {
            start,
            rows,
            columns,
            cost,
            means,
        })
    }

    /// Samples `grow.samples` responses to each prompt from the policy as it is.
    fn grow(&self, grow: &Grow, roles: &Roles, settings: DrawSettings) -> Result<Vec<Row>> {
        let each = SamplingPlan {
            n: grow.samples,
            temperature: Some(grow.temperature),
        };
        let plan = vec![each; self.tasks.len()];
        let n = (self.tasks.len() * grow.samples) as u64;
        let mut progress = run::Progress::new("grow the pool", n);
        let mut tokens_before = 0;
        let mut shown = |tokens: usize, finished: usize| {
            progress.update(finished as u64, (tokens - tokens_before) as u64, "");
            tokens_before = tokens;
        };
        let policy = roles.policy.frozen();
        let settings = stored_draw(settings, DrawStream::Grow);
        let rows = sample::draw(
            roles,
            Some(&policy),
            &self.tasks,
            &plan,
            settings,
            &mut shown,
        )?;
        progress.finish("");
        Ok(rows)
    }

    /// One answer of the reference to some of the prompts.
    fn of_reference(
        &self,
        fit: &ValueFit,
        roles: &Roles,
        settings: DrawSettings,
    ) -> Result<Vec<Row>> {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.shuffle(&mut run::stream(settings.seed, "value prompts", 0, 0));
        order.truncate(fit.prompts);
        let tasks: Vec<Rc<Task>> = order.iter().map(|i| Rc::clone(&self.tasks[*i])).collect();
        let one = SamplingPlan {
            n: 1,
            temperature: Some(fit.temperature),
        };
        let (plan, reference) = (vec![one; tasks.len()], roles.reference.as_ref());
        let settings = stored_draw(settings, DrawStream::Value);
        sample::draw(roles, reference, &tasks, &plan, settings, &mut |_, _| {})
    }

    /// One score per row, squashed where the method asks and the rewards are not in 0..1 already.
    fn scores(&self, roles: &mut Roles, readings: &Readings) -> Vec<f32> {
        let mut scores = roles.rewards.sum(readings).total;
        if self.needs.squash && !roles.rewards.in_unit_range() {
            let squash = |s: &mut f32| *s = (1.0 / (1.0 + (-f64::from(*s)).exp())) as f32;
            scores.iter_mut().for_each(squash);
        }
        scores
    }
}

/// Settings for stored responses: they are sampled from the weights that train, and their hidden
/// states are not needed.
fn stored_draw(settings: DrawSettings, stream: DrawStream) -> DrawSettings {
    DrawSettings {
        stream,
        weights: DrawWeights::Training,
        keep_states: false,
        ..settings
    }
}

/// The raw scores of the rows, with a progress bar.
fn read(roles: &mut Roles, rows: &[Row], what: &str) -> Result<Readings> {
    let mut readings = Readings::default();
    if rows.is_empty() {
        return Ok(readings);
    }
    let mut progress = run::Progress::new(what, rows.len() as u64);
    let mut done = 0;
    for part in rows.chunks(64) {
        readings.extend(score::readings(roles, part)?);
        let tokens = part.iter().map(|row| row.ids.len() as u64).sum();
        done += part.len() as u64;
        progress.update(done, tokens, "");
    }
    progress.finish("");
    Ok(readings)
}

/// V_ref of each row's prompt, from a head fitted to the scores of the reference's answers.
fn prompt_values(
    fit: &ValueFit,
    rows: &[Row],
    answers: &[Row],
    targets: &[f32],
    roles: &Roles,
    settings: DrawSettings,
) -> Result<Vec<f32>> {
    let (model, reference) = (roles.model(), roles.reference.as_ref());
    let prompts: Vec<Vec<u32>> = answers.iter().map(|row| row.task.ids.clone()).collect();
    let head = prompt_value::fit(model, reference, &prompts, targets, fit, settings.seed)?;
    let ids: BTreeMap<u64, &[u32]> = rows
        .iter()
        .map(|row| (row.task.key, row.task.ids.as_slice()))
        .collect();
    let keys: Vec<u64> = ids.keys().copied().collect();
    let prompts: Vec<&[u32]> = ids.into_values().collect();
    let values = head.values(model, reference, &prompts)?;
    let of: BTreeMap<u64, f32> = keys.into_iter().zip(values).collect();
    Ok(rows.iter().map(|row| of[&row.task.key]).collect())
}
