//! Everything that an RL run learns with: its rows, its models with their optimisers, and its
//! method.

use crate::clauses::Clauses;
use crate::config::Config;
use crate::logp_source::LogpSource;
use crate::roles::Roles;
use crate::row::Row;
use crate::row_source::RowSource;
use crate::sample::{DrawSettings, DrawStream, DrawWeights};
use crate::trainable::TrainableParams;
use crate::watch::{Seen, WatchReport, WatchState};
use algorithms::Metrics;
use algorithms::{Algorithm, Experience, Requirements};
use candle_core::Var;
use run::Rules;
use train::Frozen;

/// `setup.rs` makes it; `rl_step.rs` takes its steps.
pub(crate) struct Learner<'a> {
    pub config: &'a Config,
    pub algorithm: Box<dyn Algorithm>,
    /// What the algorithm requires
    pub needs: Requirements,
    pub logp_source: LogpSource,
    pub source: RowSource,
    /// None unless the method asks for clauses
    pub clauses: Option<Clauses>,
    pub roles: Roles,
    pub policy: TrainableParams,
    pub critic: Option<TrainableParams>,
    pub watch: WatchState,
    /// The rules of training that the run began under
    pub rules: Rules,
    /// The base's weights as they were when the run was opened
    pub frozen: Frozen,
}

impl Learner<'_> {
    /// How the rollouts of `step` are drawn.
    pub fn draw_settings(&self, step: u64) -> DrawSettings {
        let r = &self.config.rollout;
        DrawSettings {
            sampling: generation::Sampling {
                temperature: r.temperature,
                top_k: r.top_k,
                top_p: r.top_p,
                max_new_tokens: r.max_new_tokens,
            },
            max_rows: r.max_rows,
            keep_states: self.logp_source.keeps_states(),
            weights: DrawWeights::Rollout,
            stream: DrawStream::Rollout,
            seed: self.config.train.seed,
            step,
        }
    }

    /// The temperature that each row is scored at: the one it was drawn at, unless the algorithm
    /// scores untempered.
    pub fn scoring_temperature(&self, exp: &Experience) -> Vec<f32> {
        match self.needs.at_sampling_temperature {
            true => exp.temperature.clone(),
            false => vec![1.0; exp.n_rows()],
        }
    }

    /// Watches the health of a step's sampled responses. Stored responses are not watched.
    pub fn watch(
        &mut self,
        step: u64,
        rows: &[Row],
        exp: &Experience,
        metrics: &Metrics,
    ) -> WatchReport {
        let drawn: Vec<usize> = (0..rows.len()).filter(|row| exp.sampled[*row]).collect();
        if !matches!(self.source, RowSource::Prompts(_)) || drawn.is_empty() {
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
            grad_norm: known("policy/grad_norm").filter(|_| known("policy/lr") > Some(0.0)),
            past_start: 4 * (step + 1) >= self.config.train.steps as u64,
        };
        self.watch.see(&seen, &self.config.watch)
    }

    /// Trainable parameters of policy and critic by name, for checkpoints.
    pub fn params(&self) -> Vec<(String, Var)> {
        let named = |role: &'static str, params: Vec<(String, Var)>| {
            let named = move |(name, var): (String, Var)| (format!("{role}.{name}"), var);
            params.into_iter().map(named)
        };
        let critic = self.roles.critic.as_ref().map(|critic| critic.params());
        named("policy", self.roles.policy.vars())
            .chain(named("critic", critic.unwrap_or_default()))
            .collect()
    }
}
