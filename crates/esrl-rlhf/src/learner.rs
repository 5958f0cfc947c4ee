//! One RL step, from prompts to new weights. `Learner::step` reads like the list in ARCHITECTURE.md: `gather.rs` makes the rows,
//! `update.rs` learns from them.

use crate::clauses::Clauses;
use crate::config::Config;
use crate::failed;
use crate::feed::Feed;
use crate::gather::Gathered;
use crate::read::{self, Columns};
use crate::roles::Roles;
use crate::rollout::Draw;
use crate::row::Row;
use crate::step_timer::StepTimer;
use crate::trainable::TrainableParams;
use crate::watch::{Seen, WatchReport, WatchState};
use algorithms::{Algorithm, Experience, importance};
use anyhow::Result;
use candle_core::Var;
use policy::Batch;
use run::Run;
use std::collections::BTreeMap;
use train::Frozen;

pub(crate) type Metrics = BTreeMap<String, f64>;

pub(crate) struct Learner<'a> {
    pub config: &'a Config,
    pub feed: Feed,
    /// Where the method asks for clauses
    pub clauses: Option<Clauses>,
    pub roles: Roles,
    pub algorithm: Box<dyn Algorithm>,
    pub policy: TrainableParams,
    pub critic: Option<TrainableParams>,
    pub watch: WatchState,
    /// Weights as they were when the run was opened
    pub frozen: Frozen,
}

/// What a step leaves to be logged and shown.
pub(crate) struct StepReport {
    pub metrics: Metrics,
    pub rows: Vec<Row>,
    /// What was known of the rows before the step's updates
    pub exp: Experience,
    /// Health watches that begin to warn
    pub warnings: Vec<String>,
    /// Response tokens drawn, greedy estimates included.
    pub tokens_drawn: usize,
    /// Responses drawn, greedy estimates included.
    pub samples_drawn: usize,
}

impl Learner<'_> {
    pub fn step(&mut self, step: u64, run: &Run) -> Result<StepReport> {
        let mut timer = StepTimer::new();
        let needs = self.algorithm.requirements();

        // 1 to 3. rows with their scores: sampled now, or stored
        let Gathered {
            mut rows,
            mut exp,
            new_epoch,
            cost,
            metrics: gathered,
        } = self.gather(step, run, &mut timer)?;
        self.roles.refresh(&needs, step, new_epoch)?;

        // 3. reference, critic and the policy as it was, without a graph
        let apart = self.roles.samples_apart();
        let old = match &needs.source {
            algorithms::DataSource::Rollouts => {
                let rescore = self.config.rollout.rescore.unwrap_or(needs.reference);
                needs.recompute_logp_old || needs.reference_answer || rescore || apart
            }
            algorithms::DataSource::Pool(_) | algorithms::DataSource::Pairs => {
                needs.recompute_logp_old
            }
        };
        let temperature = self.scoring_temperature(&exp);
        if old || needs.reference || self.roles.critic.is_some() {
            let which = Columns {
                old,
                reference: needs.reference,
                exact_kl: needs.source == algorithms::DataSource::Rollouts,
                max_tokens: self.config.train.micro_batch_tokens,
            };
            read::columns(&self.roles, &rows, &mut exp, &temperature, which)?;
        }
        // they are read, and would stand beside the graph
        rows.iter_mut().for_each(Row::forget_states);
        timer.record("time/read");

        let mut of_clauses = Metrics::new();
        if let Some(clauses) = &mut self.clauses {
            (exp.macro_start, of_clauses) = clauses.macro_starts(&self.roles.encoder, &rows)?;
        }

        // what the sampler's weights were worth
        let mut of_weights = Metrics::new();
        let drawn = needs.source == algorithms::DataSource::Rollouts && self.roles.old.is_none();
        if apart && drawn {
            let cap = self.config.rollout.importance_cap;
            (exp.importance, of_weights) = importance::weights(&exp, cap);
        }

        // 4. prepare: baselines, advantages
        let (exp, mut metrics) = self.algorithm.prepare(exp)?;
        metrics.extend(of_weights);
        metrics.extend(gathered);
        metrics.extend(of_clauses);

        // 5. update: one teacher-forced forward with graph per row and pass
        // Is logp_old what the first update's forward must say again?
        let same_forward = needs.source == algorithms::DataSource::Rollouts
            && self.roles.old.is_none()
            && (old || temperature == exp.temperature);
        self.update(step, &rows, &exp, &temperature, same_forward, &mut metrics)
            .map_err(|why| failed::saved(run, step + 1, &rows, &exp, &why))?;
        timer.record("time/update");
        let WatchReport {
            metrics: watched,
            warnings,
        } = self.watch(&rows, &exp, &metrics);
        metrics.extend(watched);

        let secs = timer.finish(&mut metrics);
        let tokens = match &needs.source {
            algorithms::DataSource::Rollouts => cost.tokens,
            algorithms::DataSource::Pool(_) | algorithms::DataSource::Pairs => exp.n_tokens(),
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

    /// Log-probabilities of the rows' responses under the policy as it is, tempered as they were drawn; no graph.
    pub fn logps(&self, rows: &[Row], exp: &Experience) -> Result<Vec<f32>> {
        let temperature = self.scoring_temperature(exp);
        let lora = self.roles.policy.frozen();
        let units: Vec<_> = rows.iter().map(|row| vec![row.sequence()]).collect();
        let mut logps = Vec::with_capacity(exp.n_tokens());
        for range in models::micro_batches(&units, self.config.train.micro_batch_tokens) {
            let batch = Batch::new(rows[range.clone()].iter().map(Row::sequence));
            let scores = policy::score(
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
            keep_states: false,
            seed: self.config.train.seed,
            step,
        }
    }

    /// The temperature at which a row is scored: the one it was drawn at, unless the algorithm scores untempered.
    pub fn scoring_temperature(&self, exp: &Experience) -> Vec<f32> {
        if self.algorithm.requirements().at_sampling_temperature {
            exp.temperature.clone()
        } else {
            vec![1.0; exp.n_rows()]
        }
    }

    /// The health of the responses drawn; of stored ones there is none to watch.
    fn watch(&mut self, rows: &[Row], exp: &Experience, metrics: &Metrics) -> WatchReport {
        let drawn: Vec<usize> = (0..rows.len()).filter(|row| exp.sampled[*row]).collect();
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
