//! The stored responses of an offline method ([`Feed::Pool`](algorithms::Feed)): made once from the data, or drawn from the
//! policy at the start of each round (ReST's D_g), scored, and kept in the run directory as `pool-<step>.jsonl`.

use crate::data::{Answered, Task};
use crate::learner::Metrics;
use crate::roles::Roles;
use crate::rollout::{self, Draw};
use crate::row::{Row, experience};
use crate::value;
use algorithms::{Algorithm, Experience, Grow, PoolNeeds, SamplingPlan, ValueFit};
use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use rewards::{Readings, Scored};
use run::Run;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Rows and what is known of each; `columns` is what the algorithm sees.
#[derive(Default)]
struct Round {
    /// The step at which it begins
    start: u64,
    rows: Vec<Row>,
    columns: algorithms::Pool,
    cost: Cost,
    /// `reward/<source>`: mean score of the rows
    means: BTreeMap<String, f32>,
}

/// Responses and tokens sampled for a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub samples: usize,
    pub tokens: usize,
}

pub(crate) struct Pool {
    needs: PoolNeeds,
    /// Prompts to draw for, each once, in the order of the data
    tasks: Vec<Rc<Task>>,
    /// The data's own answers: prompt and response ids with EOS
    answers: Vec<Answered<1>>,
    batch: usize,
    round: Option<Round>,
    phase: Option<Phase>,
}

/// A stretch of steps under one set of weights.
struct Phase {
    number: u64,
    start: u64,
    /// Rows of weight above 0, and their weights
    kept: Vec<usize>,
    weights: Vec<f64>,
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

/// First line of a stored round.
#[derive(Serialize, Deserialize)]
struct Header {
    step: u64,
    rows: usize,
    cost: Cost,
    /// Mean score of each source of reward; f32, which JSON carries exactly
    means: BTreeMap<String, f32>,
    /// State of the rewards after the round was scored
    rewards: serde_json::Value,
}

/// One response of a stored round.
#[derive(Serialize, Deserialize)]
struct Stored {
    prompt_key: u64,
    ids: Vec<u32>,
    finished: bool,
    drawn: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_value: Option<f32>,
}

impl Pool {
    /// `tasks` are drawn for when the pool grows; `answers` are the data's rows, empty where the method keeps none.
    pub fn new(
        needs: PoolNeeds,
        tasks: Vec<Rc<Task>>,
        answers: Vec<Answered<1>>,
        batch: usize,
    ) -> Self {
        Self {
            needs,
            tasks,
            answers,
            batch,
            round: None,
            phase: None,
        }
    }

    /// Answers of the data, or prompts where the method keeps none.
    pub fn n_rows(&self) -> usize {
        self.answers.len().max(self.tasks.len())
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
        let start = match &self.needs.grow {
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
            let (phase, found) = weigh(algorithm, &round.columns, number, step)?;
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
        let mut at = match self.needs.replacement {
            true => phase.by_weight(self.batch, draw.seed, step),
            false => phase.of_epoch(self.batch, draw.seed, nth / per_epoch, nth % per_epoch),
        };
        // one prompt's rows together
        at.sort_by_key(|i| (round.columns.prompt_key[*i], *i));
        let rows: Vec<Row> = at.iter().map(|i| round.rows[*i].again()).collect();
        let mut exp = experience(&rows);
        exp.drawn = at.iter().map(|i| round.columns.drawn[*i]).collect();
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
            let text = std::fs::read_to_string(&file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            let (round, rewards) = self
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
        let round = self.make_round(start, roles, draw)?;
        let text = round.to_jsonl(roles.rewards.state())?;
        run.write_file(&name, text.as_bytes())?;
        Ok(round)
    }

    fn make_round(&self, start: u64, roles: &mut Roles, draw: Draw) -> Result<Round> {
        let mut means = BTreeMap::new();
        let mut cost = Cost::default();
        let mut rows: Vec<Row> = Vec::new();
        let mut drawn = Vec::new();
        if let Some(grow) = &self.needs.grow {
            rows = self.grow(grow, roles, draw)?;
            drawn = vec![true; rows.len()];
            cost.add(&rows);
        }
        rows.extend(
            self.answers
                .iter()
                .map(|(task, [ids])| Row::new(task, ids, true, None)),
        );
        drawn.resize(rows.len(), false);
        let mut columns = algorithms::Pool {
            prompt_key: rows.iter().map(|row| row.task.key).collect(),
            lens: rows.iter().map(|row| row.response().len()).collect(),
            response_key: rows.iter().map(Row::response_key).collect(),
            drawn,
            ..algorithms::Pool::default()
        };
        if self.needs.score {
            let scored = self.scores(roles, &rows, "score the pool")?;
            let named = rollout::means(&scored).into_iter();
            means = named.map(|(name, mean)| (name, mean as f32)).collect();
            columns.score = scored.total;
        }
        if let Some(fit) = &self.needs.prompt_value {
            columns.prompt_value = self.prompt_values(fit, &rows, roles, draw, &mut cost)?;
        }
        Ok(Round {
            start,
            rows,
            columns,
            cost,
            means,
        })
    }

    /// Draws `grow.samples` responses to each prompt from the policy as it is.
    fn grow(&self, grow: &Grow, roles: &Roles, draw: Draw) -> Result<Vec<Row>> {
        let each = SamplingPlan {
            n: grow.samples,
            temperature: Some(grow.temperature),
        };
        let plan = vec![each; self.tasks.len()];
        let n = (self.tasks.len() * grow.samples) as u64;
        let mut progress = run::Progress::new("grow the pool", n);
        let mut tokens_before = 0;
        let rows = rollout::sample(
            roles,
            Some(&roles.policy.frozen()),
            &self.tasks,
            &plan,
            draw,
            rollout::GROW,
            &mut |tokens, finished| {
                progress.update(finished as u64, (tokens - tokens_before) as u64, "");
                tokens_before = tokens;
            },
        )?;
        progress.finish("");
        Ok(rows)
    }

    /// One score per row, squashed where the method wants that.
    fn scores(&self, roles: &mut Roles, rows: &[Row], what: &str) -> Result<Scored> {
        let mut progress = run::Progress::new(what, rows.len() as u64);
        let (mut readings, mut done) = (Readings::default(), 0);
        for part in rows.chunks(64) {
            readings.extend(rollout::readings(roles, part)?);
            let tokens = part.iter().map(|row| row.ids.len() as u64).sum();
            done += part.len() as u64;
            progress.update(done, tokens, "");
        }
        progress.finish("");
        let mut scored = roles.rewards.sum(&readings);
        if self.needs.squash {
            let squash =
                |score: &mut f32| *score = (1.0 / (1.0 + (-f64::from(*score)).exp())) as f32;
            scored.total.iter_mut().for_each(squash);
        }
        Ok(scored)
    }

    /// V_ref of each row's prompt, from a head fitted to the scores of the reference's answers to some of the prompts.
    fn prompt_values(
        &self,
        fit: &ValueFit,
        rows: &[Row],
        roles: &mut Roles,
        draw: Draw,
        cost: &mut Cost,
    ) -> Result<Vec<f32>> {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.shuffle(&mut run::stream(draw.seed, "value prompts", 0, 0));
        order.truncate(fit.prompts);
        let tasks: Vec<Rc<Task>> = order.iter().map(|i| Rc::clone(&self.tasks[*i])).collect();
        let one = SamplingPlan {
            n: 1,
            temperature: Some(fit.temperature),
        };
        let plan = vec![one; tasks.len()];
        let answers = rollout::sample(
            roles,
            roles.reference.as_ref(),
            &tasks,
            &plan,
            draw,
            rollout::VALUE,
            &mut |_, _| {},
        )?;
        cost.add(&answers);
        let targets = self.scores(roles, &answers, "score the reference")?.total;
        let (model, reference) = (roles.model(), roles.reference.as_ref());
        let prompts: Vec<Vec<u32>> = answers.iter().map(|row| row.task.ids.clone()).collect();
        let head = value::fit(model, reference, &prompts, &targets, fit, draw.seed)?;
        // each prompt once
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

    /// A stored round, and the state of the rewards after it.
    fn parse(&self, text: &str) -> Result<(Round, serde_json::Value)> {
        let tasks: BTreeMap<u64, &Rc<Task>> = self
            .tasks
            .iter()
            .chain(self.answers.iter().map(|(task, _)| task))
            .map(|task| (task.key, task))
            .collect();
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next().context("it is empty")?)?;
        let (mut rows, mut columns) = (Vec::new(), algorithms::Pool::default());
        for line in lines {
            let stored: Stored = serde_json::from_str(line)?;
            let task = tasks.get(&stored.prompt_key);
            let task = task.with_context(|| format!("prompt {} is unknown", stored.prompt_key))?;
            let row = Row::new(task, &stored.ids, stored.finished, None);
            columns.prompt_key.push(stored.prompt_key);
            columns.lens.push(stored.ids.len());
            columns.response_key.push(row.response_key());
            columns.drawn.push(stored.drawn);
            columns.score.extend(stored.score);
            columns.prompt_value.extend(stored.prompt_value);
            rows.push(row);
        }
        ensure!(
            rows.len() == header.rows,
            "it has {} rows, not {}",
            rows.len(),
            header.rows
        );
        let round = Round {
            start: header.step,
            rows,
            columns,
            cost: header.cost,
            means: header.means,
        };
        Ok((round, header.rewards))
    }
}

impl Cost {
    fn add(&mut self, rows: &[Row]) {
        self.samples += rows.len();
        self.tokens += rows.iter().map(|row| row.response().len()).sum::<usize>();
    }
}

impl Round {
    fn to_jsonl(&self, rewards: serde_json::Value) -> Result<String> {
        let header = Header {
            step: self.start,
            rows: self.rows.len(),
            cost: self.cost,
            means: self.means.clone(),
            rewards,
        };
        let mut lines = vec![serde_json::to_string(&header)?];
        for (i, row) in self.rows.iter().enumerate() {
            lines.push(serde_json::to_string(&Stored {
                prompt_key: row.task.key,
                ids: row.response().to_vec(),
                finished: row.finished,
                drawn: self.columns.drawn[i],
                score: self.columns.score.get(i).copied(),
                prompt_value: self.columns.prompt_value.get(i).copied(),
            })?);
        }
        Ok(lines.join("\n") + "\n")
    }
}

fn weigh(
    algorithm: &dyn Algorithm,
    pool: &algorithms::Pool,
    number: u64,
    step: u64,
) -> Result<(Phase, Metrics)> {
    let (weights, metrics) = algorithm.weigh(pool, number)?;
    let kept: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0.0).collect();
    ensure!(
        !kept.is_empty(),
        "no stored response is left to learn from; lower the algorithm's threshold"
    );
    let mut start = step;
    while start > 0 && algorithm.phase(start - 1) == number {
        start -= 1;
    }
    let weights = kept.iter().map(|i| weights[*i]).collect();
    let phase = Phase {
        number,
        start,
        kept,
        weights,
    };
    Ok((phase, metrics))
}

impl Phase {
    /// `n` rows with replacement, in proportion to their weights.
    fn by_weight(&self, n: usize, seed: u64, step: u64) -> Vec<usize> {
        let total: f64 = self.weights.iter().sum();
        let mut rng = run::stream(seed, "pool", step, 0);
        let mut one = || {
            let mut left = rng.random::<f64>() * total;
            let mut at = 0;
            while at + 1 < self.kept.len() && left >= self.weights[at] {
                left -= self.weights[at];
                at += 1;
            }
            self.kept[at]
        };
        (0..n).map(|_| one()).collect()
    }

    /// The `nth` batch of an epoch, each row once.
    fn of_epoch(&self, n: usize, seed: u64, epoch: u64, nth: u64) -> Vec<usize> {
        let mut order = self.kept.clone();
        order.shuffle(&mut run::stream(seed, "pool", self.number, epoch));
        let begin = nth as usize * n;
        order[begin..(begin + n).min(order.len())].to_vec()
    }
}
