//! One RL step, from prompts to new weights. `Learner::step` reads like the list in ARCHITECTURE.md.

use crate::clauses::Clauses;
use crate::config::Config;
use crate::data::Task;
use crate::failed;
use crate::feed::{self, Feed};
use crate::pool::{self, Cost};
use crate::read::{self, Columns};
use crate::roles::Roles;
use crate::rollout::{self, Draw, ROLLOUT};
use crate::row::{Row, experience};
use crate::watch::{Seen, WatchReport, WatchState};
use algorithms::{Algorithm, Experience, Loss, Scores, Totals};
use anyhow::{Result, bail};
use candle_core::{Tensor, Var};
use rand::seq::SliceRandom;
use run::Run;
use stage::Batch;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;
use train::{AdamW, Frozen, Gradients, OptimizerConfig, Tripwire};

pub(crate) type Metrics = BTreeMap<String, f64>;

/// Mean over tokens of |logp of the training forward − logp of the sampler| at the step's first update.
const SAMPLER_GAP: &str = "policy/sampler_gap";
/// Logged as `first/…` too, for the step's first update: 0, or the forward is not the one that read logp_old.
const AT_FIRST: [&str; 2] = ["policy/approxkl", "policy/clipfrac"];

pub(crate) struct Learner<'a> {
    pub config: &'a Config,
    pub feed: Feed,
    /// Where the method asks for clauses
    pub clauses: Option<Clauses>,
    pub roles: Roles,
    pub algorithm: Box<dyn Algorithm>,
    pub policy: Trainee,
    pub critic: Option<Trainee>,
    pub watch: WatchState,
    /// Weights as they were when the run was opened
    pub frozen: Frozen,
}

/// Parameters that learn, with their optimiser.
pub(crate) struct Trainee {
    pub optimizer: AdamW,
    /// Until every tensor was seen to change; not in a resumed run.
    tripwire: Option<Tripwire>,
}

impl Trainee {
    pub fn new(params: Vec<(String, Var)>, config: &OptimizerConfig) -> Result<Self> {
        Ok(Self {
            tripwire: Some(Tripwire::new(&params)?),
            optimizer: AdamW::new(params, config)?,
        })
    }

    pub fn resume(&mut self, file: &Path) -> Result<()> {
        self.tripwire = None;
        self.optimizer.load(file)
    }

    /// The gradient norm; refuses a gradient that is not finite.
    fn norm(&self, grads: &Gradients) -> Result<f64> {
        let (norm, bad) = grads.norm()?;
        if bad.is_some() {
            bail!(
                "a gradient is not finite; {}; lower the learning rate",
                train::blame(self.optimizer.params(), grads)?
            );
        }
        Ok(norm)
    }

    /// Clips by `norm`, that of the gradients, and steps.
    fn step(
        &mut self,
        grads: &Gradients,
        norm: f64,
        config: &OptimizerConfig,
        lr: f64,
    ) -> Result<()> {
        if self.tripwire.is_some()
            && let Some(name) = grads.missing().next()
        {
            bail!("no gradient reaches {name}; it would never be trained");
        }
        self.optimizer
            .step(grads, lr, train::clip_scale(norm, config.max_grad_norm))?;
        if let Some(tripwire) = &mut self.tripwire {
            // Rewards that are all alike give no gradient, which is no fault.
            let moved = if norm > 0.0 { lr } else { 0.0 };
            if tripwire.passed(self.optimizer.params(), moved)? {
                self.tripwire = None;
            }
        }
        Ok(())
    }
}

/// What a step leaves to be logged and shown.
pub(crate) struct StepReport {
    pub metrics: Metrics,
    pub rows: Vec<Row>,
    /// What was known of the rows before the step\'s updates
    pub exp: Experience,
    /// Health watches that begin to warn
    pub warnings: Vec<String>,
    /// Response tokens drawn, greedy estimates included.
    pub tokens_drawn: usize,
    /// Responses drawn, greedy estimates included.
    pub samples_drawn: usize,
}

/// Rows of a step before any model has read them.
struct Gathered {
    rows: Vec<Row>,
    exp: Experience,
    new_epoch: bool,
    cost: Cost,
    metrics: Metrics,
}

impl Learner<'_> {
    pub fn step(&mut self, step: u64, run: &Run) -> Result<StepReport> {
        let mut clock = Clock::new();
        let needs = self.algorithm.needs();

        // 1 to 3. rows with their scores: sampled now, or stored
        let Gathered {
            rows,
            mut exp,
            new_epoch,
            cost,
            metrics: gathered,
        } = self.gather(step, run, &mut clock)?;
        self.roles.refresh(&needs, step, new_epoch)?;

        // 3. reference, critic and the policy as it was, without a graph
        let old = match &needs.feed {
            algorithms::Feed::Rollouts => {
                let rescore = self.config.rollout.rescore.unwrap_or(needs.reference);
                needs.rescore || needs.reference_answer || rescore
            }
            algorithms::Feed::Pool(_) | algorithms::Feed::Pairs => needs.rescore,
        };
        let temperature = self.scoring_temperature(&exp);
        if old || needs.reference || self.roles.critic.is_some() {
            let which = Columns {
                old,
                reference: needs.reference,
                exact_kl: needs.feed == algorithms::Feed::Rollouts,
                max_tokens: self.config.train.micro_batch_tokens,
            };
            read::columns(&self.roles, &rows, &mut exp, &temperature, which)?;
        }
        clock.lap("time/read");

        let mut of_clauses = Metrics::new();
        if let Some(clauses) = &mut self.clauses {
            (exp.macro_start, of_clauses) = clauses.macro_starts(&self.roles.encoder, &rows)?;
        }

        // 4. prepare: baselines, advantages
        let (exp, mut metrics) = self.algorithm.prepare(exp)?;
        metrics.extend(gathered);
        metrics.extend(of_clauses);

        // 5. update: one teacher-forced forward with graph per row and pass
        // Is logp_old what the first update's forward must say again?
        let same_forward = needs.feed == algorithms::Feed::Rollouts
            && self.roles.old.is_none()
            && (old || temperature == exp.temperature);
        self.update(step, &rows, &exp, &temperature, same_forward, &mut metrics)
            .map_err(|why| failed::saved(run, step + 1, &rows, &exp, &why))?;
        clock.lap("time/update");
        let WatchReport {
            metrics: watched,
            warnings,
        } = self.watch(&rows, &exp, &metrics);
        metrics.extend(watched);

        let secs = clock.finish(&mut metrics);
        let tokens = match &needs.feed {
            algorithms::Feed::Rollouts => cost.tokens,
            algorithms::Feed::Pool(_) | algorithms::Feed::Pairs => exp.n_tokens(),
        };
        metrics.insert("throughput/tokens_per_sec".into(), tokens as f64 / secs);
        Ok(StepReport {
            metrics,
            exp,
            warnings,
            rows,
            tokens_drawn: cost.tokens,
            samples_drawn: cost.samples,
        })
    }

    /// The step's rows and their scores.
    fn gather(&mut self, step: u64, run: &Run, clock: &mut Clock) -> Result<Gathered> {
        let draw = self.draw(step);
        let gathered = match &mut self.feed {
            Feed::Rollouts { tasks, loader } => {
                let (batch, new_epoch) = feed::next(loader);
                let tasks: Vec<Rc<Task>> = batch.iter().map(|i| Rc::clone(&tasks[*i])).collect();
                return self.rollouts(step, &tasks, new_epoch, clock);
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
        clock.lap("time/pool");
        Ok(gathered)
    }

    /// Samples for the prompts, and scores.
    fn rollouts(
        &mut self,
        step: u64,
        tasks: &[Rc<Task>],
        new_epoch: bool,
        clock: &mut Clock,
    ) -> Result<Gathered> {
        let draw = self.draw(step);
        let needs = self.algorithm.needs();
        let keys: Vec<u64> = tasks.iter().map(|t| t.key).collect();

        // 1. plan: how many samples and which temperature each prompt gets
        let (estimates, greedy_tokens) =
            rollout::estimates(&mut self.roles, self.algorithm.as_ref(), tasks, draw)?;
        self.algorithm.observe(&estimates);
        let plan = self.algorithm.plan(&keys, step)?;
        clock.lap("time/estimate");

        // 2. sample without a graph
        let policy = self.roles.policy.frozen();
        let mut rows = rollout::sample(
            &self.roles,
            Some(&policy),
            tasks,
            &plan,
            draw,
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
        clock.lap("time/sample");

        // 3. score
        let scored = rollout::reward(&mut self.roles, &rows)?;
        let metrics = rollout::means(&scored);
        exp.score = scored.total;
        if let Some(kind) = needs.metric {
            exp.metric = rollout::metric(&self.roles, kind, &rows)?;
        }
        clock.lap("time/reward");
        Ok(Gathered {
            rows,
            exp,
            new_epoch,
            cost,
            metrics,
        })
    }

    /// Log-probabilities of the rows' responses under the policy as it is, tempered as they were drawn; no graph.
    pub fn logps(&self, rows: &[Row], exp: &Experience) -> Result<Vec<f32>> {
        let temperature = self.scoring_temperature(exp);
        let lora = self.roles.policy.frozen();
        let units: Vec<_> = rows.iter().map(|row| vec![row.sequence()]).collect();
        let mut logps = Vec::with_capacity(exp.n_tokens());
        for range in llama::micro_batches(&units, self.config.train.micro_batch_tokens) {
            let batch = Batch::new(rows[range.clone()].iter().map(Row::sequence));
            let scores = stage::score(
                self.roles.model(),
                Some(&lora),
                &batch,
                &temperature[range],
                None,
            )?;
            logps.extend(scores.logp.detach().to_vec1::<f32>()?);
        }
        Ok(logps)
    }

    pub fn draw(&self, step: u64) -> Draw {
        let r = &self.config.rollout;
        let sampling = generation::Sampling {
            temperature: r.temperature,
            top_k: r.top_k,
            top_p: r.top_p,
            max_new_tokens: r.max_new_tokens,
        };
        Draw {
            sampling,
            max_rows: r.max_rows,
            seed: self.config.train.seed,
            step,
        }
    }

    /// The temperature at which a row is scored: the one it was drawn at, unless the algorithm scores untempered.
    fn scoring_temperature(&self, exp: &Experience) -> Vec<f32> {
        if self.algorithm.needs().tempered {
            exp.temperature.clone()
        } else {
            vec![1.0; exp.n_rows()]
        }
    }

    fn update(
        &mut self,
        step: u64,
        rows: &[Row],
        exp: &Experience,
        temperature: &[f32],
        same_forward: bool,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let needs = self.algorithm.needs();
        let units = units(exp, needs.whole_groups);
        let size = units.len().div_ceil(needs.minibatches);
        // Rounding the size up may leave fewer minibatches than were asked for.
        let n_updates = needs.epochs * units.len().div_ceil(size);
        let mut first = true;
        for epoch in 0..needs.epochs {
            let mut order: Vec<usize> = (0..units.len()).collect();
            let seed = self.config.train.seed;
            order.shuffle(&mut run::stream(seed, "minibatches", step, epoch as u64));
            for minibatch in order.chunks(size) {
                let mut minibatch = minibatch.to_vec();
                minibatch.sort_unstable();
                let units: Vec<&[usize]> = minibatch.iter().map(|u| units[*u].as_slice()).collect();
                let check = |metrics: &Metrics| match first {
                    true => self.config.watch.check_first(metrics, same_forward),
                    false => Ok(()),
                };
                let update = self.minibatch(step, rows, exp, temperature, &units, &check)?;
                for (name, value) in update {
                    if first && AT_FIRST.contains(&name.as_str()) {
                        metrics.insert(format!("first/{name}"), value);
                    }
                    // Before the first update of the step the training forward must say what the sampler said.
                    if name == SAMPLER_GAP {
                        metrics.entry(name).or_insert(value);
                    } else {
                        *metrics.entry(name).or_default() += value / n_updates as f64;
                    }
                }
                first = false;
            }
        }
        Ok(())
    }

    /// The health of the responses drawn; of stored ones there is none to watch.
    fn watch(&mut self, rows: &[Row], exp: &Experience, metrics: &Metrics) -> WatchReport {
        let drawn: Vec<usize> = (0..rows.len()).filter(|row| exp.drawn[*row]).collect();
        if !matches!(self.feed, Feed::Rollouts { .. }) || drawn.is_empty() {
            return WatchReport::default();
        }
        let finished = drawn.iter().filter(|row| exp.finished[**row]).count();
        let known = |name: &str| metrics.get(name).copied();
        let seen = Seen {
            responses: drawn.iter().map(|row| rows[*row].response()).collect(),
            rewards: drawn.iter().map(|row| exp.score[*row].into()).collect(),
            eos_rate: finished as f64 / drawn.len() as f64,
            entropy: known("objective/entropy"),
            kl: known("objective/kl"),
            kl_exact: known("objective/kl_exact"),
        };
        self.watch.see(&seen, &self.config.watch)
    }

    /// One optimiser step over some rows, in micro-batches within the token budget, unless `check` refuses its metrics.
    fn minibatch(
        &mut self,
        step: u64,
        rows: &[Row],
        exp: &Experience,
        temperature: &[f32],
        units: &[&[usize]],
        check: &dyn Fn(&Metrics) -> Result<()>,
    ) -> Result<Metrics> {
        let all: Vec<usize> = units.iter().flat_map(|u| u.iter().copied()).collect();
        let totals = Totals::of(&exp.select(&all));
        let sequences: Vec<Vec<_>> = units
            .iter()
            .map(|u| u.iter().map(|r| rows[*r].sequence()).collect())
            .collect();
        let mut policy_grads = Gradients::zeros(self.policy.optimizer.params());
        let mut critic_grads = self
            .critic
            .as_ref()
            .map(|c| Gradients::zeros(c.optimizer.params()));
        let mut metrics = Metrics::new();
        for range in llama::micro_batches(&sequences, self.config.train.micro_batch_tokens) {
            let at: Vec<usize> = units[range]
                .iter()
                .flat_map(|u| u.iter().copied())
                .collect();
            let Loss {
                loss,
                metrics: part,
            } = self.loss(rows, exp, temperature, &at, totals)?;
            let grads = loss.backward()?;
            policy_grads.add(&grads)?;
            if let Some(critic) = &mut critic_grads {
                critic.add(&grads)?;
            }
            let value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                let mut all = policy_grads;
                if let Some(critic) = critic_grads {
                    all.extend(critic);
                }
                let blame = train::blame(&self.params(), &all)?;
                let row = self.first_bad_row(rows, temperature, &at)?;
                bail!("the loss is {value}; {blame}; {row}; lower the learning rate");
            }
            for (name, value) in part {
                *metrics.entry(name).or_default() += value;
            }
        }
        check(&metrics)?;
        let t = &self.config.train;
        let frozen = (step as usize) < t.critic_warmup_steps;
        let lr = if frozen {
            0.0
        } else {
            t.policy.lr_at(step as usize, t.steps) * self.algorithm.lr_scale(step)
        };
        // Both are looked at before either steps.
        let norm = self.policy.norm(&policy_grads)?;
        let critic_norm = match (&self.critic, &critic_grads) {
            (Some(critic), Some(grads)) => critic.norm(grads)?,
            _ => 0.0,
        };
        self.policy.step(&policy_grads, norm, &t.policy, lr)?;
        metrics.insert("policy/grad_norm".into(), norm);
        metrics.insert("policy/lr".into(), lr);
        if let (Some(critic), Some(grads)) = (&mut self.critic, &critic_grads) {
            let lr = t.critic.lr_at(step as usize, t.steps);
            critic.step(grads, critic_norm, &t.critic, lr)?;
            metrics.insert("val/grad_norm".into(), critic_norm);
        }
        Ok(metrics)
    }

    /// The algorithm's loss over the rows `at`, with graph.
    fn loss(
        &self,
        rows: &[Row],
        exp: &Experience,
        whole_temperature: &[f32],
        at: &[usize],
        totals: Totals,
    ) -> candle_core::Result<Loss> {
        let model = self.roles.model();
        let batch = Batch::new(at.iter().map(|r| rows[*r].sequence()));
        let temperature: Vec<f32> = at.iter().map(|r| whole_temperature[*r]).collect();
        let scores = stage::score(model, Some(&self.roles.policy), &batch, &temperature, None)?;
        let values = self
            .roles
            .critic
            .as_ref()
            .map(|c| c.values(model, &batch))
            .transpose()?;
        let now = Scores {
            logp: scores.logp,
            entropy: scores.entropy,
            values,
        };
        // Only where every row of the step is scored as it was drawn; a part of them would be no mean.
        let comparable = whole_temperature == exp.temperature && !exp.logp_sampled.is_empty();
        let exp = exp.select(at);
        let mut loss = self.algorithm.loss(&now, &exp, totals)?;
        if comparable {
            let gap = sampler_gap(&now.logp, &exp)?;
            loss.metrics
                .insert(SAMPLER_GAP.into(), gap / totals.tokens as f64);
        }
        Ok(loss)
    }

    /// Which row of the step, from 0, is the first whose log-probs are not finite.
    fn first_bad_row(&self, rows: &[Row], temperature: &[f32], at: &[usize]) -> Result<String> {
        let policy = self.roles.policy.frozen();
        for row in at {
            let batch = Batch::new([rows[*row].sequence()]);
            let temperature = &temperature[*row..=*row];
            let scores =
                stage::score(self.roles.model(), Some(&policy), &batch, temperature, None)?;
            if !scores.logp.sum_all()?.to_scalar::<f32>()?.is_finite() {
                return Ok(format!("row {row} of the batch is the first bad one"));
            }
        }
        Ok("each row's log-probs are finite".into())
    }

    /// A checkpoint must be one to go on from: refuses weights that an update broke, shown by what they say of `row`.
    pub fn check_update(&self, row: &Row) -> Result<()> {
        self.frozen.check(&self.roles.frozen_tensors())?;
        let (model, params) = (self.roles.model(), self.params());
        let batch = Batch::new([row.sequence()]);
        let mut sum = stage::score(model, Some(&self.roles.policy), &batch, &[1.0], None)?
            .logp
            .sum_all()?;
        if let Some(critic) = &self.roles.critic {
            sum = (sum + critic.values(model, &batch)?.sum_all()?)?;
        }
        let mut grads = Gradients::zeros(&params);
        grads.add(&sum.backward()?)?;
        let bad = train::first_non_finite(&params)?.is_some() || grads.norm()?.1.is_some();
        if bad || !sum.to_scalar::<f32>()?.is_finite() {
            let blame = train::blame(&params, &grads)?;
            bail!("the update broke the weights: {blame}; lower the learning rate");
        }
        Ok(())
    }

    /// Trainable parameters of policy and critic, by name, for checkpoints.
    pub fn params(&self) -> Vec<(String, Var)> {
        let critic = self
            .roles
            .critic
            .as_ref()
            .map(|c| c.params())
            .unwrap_or_default();
        let policy = self
            .roles
            .policy
            .vars()
            .into_iter()
            .map(|(name, var)| (format!("policy.{name}"), var));
        policy
            .chain(
                critic
                    .into_iter()
                    .map(|(name, var)| (format!("critic.{name}"), var)),
            )
            .collect()
    }
}

/// Sum over the tokens of drawn rows of |logp now − logp sampled|.
fn sampler_gap(logp: &Tensor, exp: &Experience) -> candle_core::Result<f64> {
    let now = logp.detach().to_vec1::<f32>()?;
    let layout = exp.layout();
    let tokens = layout.ranges().zip(&exp.drawn);
    let drawn = tokens
        .filter(|(_, drawn)| **drawn)
        .flat_map(|(range, _)| range);
    Ok(drawn
        .map(|at| f64::from((now[at] - exp.logp_sampled[at]).abs()))
        .sum())
}

/// Rows that must stay together: each alone, or a prompt's samples as one group.
fn units(exp: &Experience, whole_groups: bool) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    for row in 0..exp.n_rows() {
        match units.last_mut() {
            Some(unit) if whole_groups && exp.prompt_key[unit[0]] == exp.prompt_key[row] => {
                unit.push(row)
            }
            _ => units.push(vec![row]),
        }
    }
    units
}

/// Seconds by phase.
struct Clock {
    begun: Instant,
    last: Instant,
    laps: Vec<(&'static str, f64)>,
}

impl Clock {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            laps: Vec::new(),
        }
    }

    fn lap(&mut self, name: &'static str) {
        self.laps.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }

    fn finish(self, metrics: &mut Metrics) -> f64 {
        metrics.extend(
            self.laps
                .into_iter()
                .map(|(name, secs)| (name.to_string(), secs)),
        );
        let secs = self.begun.elapsed().as_secs_f64();
        metrics.insert("time/step".into(), secs);
        secs
    }
}
