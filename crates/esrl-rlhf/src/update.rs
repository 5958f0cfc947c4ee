//! Step 5, *update*: passes of minibatches over a step's rows. Each minibatch is the algorithm's
//! loss with graph, in micro-batches within the token budget, and one step of the optimisers.

use crate::learner::Learner;
use crate::minibatches::{optimizer_steps, units};
use crate::row::Row;
use algorithms::Metrics;
use algorithms::{Experience, Loss, Scores, Totals, importance};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use ops::TokenScores;
use policy::Batch;
use train::Gradients;

/// Mean over tokens of |logp of the training forward − logp of the sampler| at the step's first
/// update.
const SAMPLER_GAP: &str = "policy/sampler_gap";
/// Also logged as `first/…` for the step's first update. Zero up to rounding when `logp_old` comes
/// from the policy being updated.
const AT_FIRST: [&str; 2] = ["policy/approxkl", "policy/clipfrac"];

/// The prepared rows of one step.
#[derive(Clone, Copy)]
pub(crate) struct UpdateBatch<'a> {
    pub step: u64,
    pub rows: &'a [Row],
    pub exp: &'a Experience,
    /// The temperature that each row is scored at
    pub temperature: &'a [f32],
}

impl UpdateBatch<'_> {
    /// Whether every row is scored at the temperature it was drawn at.
    fn scored_as_drawn(&self) -> bool {
        self.temperature == self.exp.temperature
    }
}

/// All updates of a step. Adds their mean metrics to `metrics`; those of [`SAMPLER_GAP`] are the
/// first update's.
pub(crate) fn update(
    learner: &mut Learner,
    batch: &UpdateBatch,
    metrics: &mut Metrics,
) -> Result<()> {
    let (needs, exp) = (&learner.needs, batch.exp);
    let units = units(&exp.prompt_key, needs.whole_groups);
    let minibatches = optimizer_steps(units.len(), needs, learner.config.train.seed, batch.step);
    let n_updates = minibatches.len();

    let narrow = learner.roles.model().activation_dtype() != DType::F32;
    let separate = learner.roles.samples_from_separate_weights();
    let watch = learner.config.watch.of_sampler(separate, narrow);
    let same_forward = learner
        .logp_source
        .equals_first_update(needs, batch.scored_as_drawn());
    let check_first = |metrics: &Metrics| watch.check_first(metrics, same_forward);

    for (nth, minibatch) in minibatches.into_iter().enumerate() {
        let first = nth == 0;
        let units: Vec<&[usize]> = minibatch.iter().map(|u| units[*u].as_slice()).collect();
        let check: &dyn Fn(&Metrics) -> Result<()> = match first {
            true => &check_first,
            false => &|_| Ok(()),
        };
        for (name, value) in optimizer_step(learner, batch, &units, check)? {
            if first && AT_FIRST.contains(&name.as_str()) {
                metrics.insert(format!("first/{name}"), value);
            }
            if name == SAMPLER_GAP {
                metrics.entry(name).or_insert(value);
            } else {
                *metrics.entry(name).or_default() += value / n_updates as f64;
            }
        }
    }
    Ok(())
}

/// One optimiser step over the rows of `units`, unless `check` refuses its metrics.
fn optimizer_step(
    learner: &mut Learner,
    batch: &UpdateBatch,
    units: &[&[usize]],
    check: &dyn Fn(&Metrics) -> Result<()>,
) -> Result<Metrics> {
    let sequences: Vec<Vec<_>> = units
        .iter()
        .map(|unit| unit.iter().map(|r| batch.rows[*r].sequence()).collect())
        .collect();
    let totals = Totals::of(&batch.exp.select(&units.concat()));
    let mut grads = StepGradients::zeros(learner);
    let mut metrics = Metrics::new();
    // For tests of failing steps; empty unless built with the feature `fault-injection`.
    train::injected_fault(batch.step + 1)?;
    for range in models::micro_batches(&sequences, learner.config.train.micro_batch_tokens) {
        let rows = units[range].concat();
        let Loss {
            loss,
            metrics: part,
        } = accumulate(learner, batch, &rows, totals, &mut grads)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            let diagnosis = train::diagnose(&learner.params(), &grads.joined())?;
            let row = first_bad_row(learner, batch, &rows)?;
            bail!("the loss is {value}; {diagnosis}; {row}; lower the learning rate");
        }
        for (name, value) in part {
            *metrics.entry(name).or_default() += value;
        }
    }
    check(&metrics)?;
    let t = &learner.config.train;
    let lr = t.policy_lr(batch.step, learner.algorithm.as_ref(), learner.rules);
    // Both norms are checked before either optimiser steps.
    let norm = learner.policy.norm(&grads.policy)?;
    let critic_norm = match (&learner.critic, &grads.critic) {
        (Some(critic), Some(grads)) => critic.norm(grads)?,
        _ => 0.0,
    };
    learner.policy.step(&grads.policy, norm, &t.policy, lr)?;
    metrics.insert("policy/grad_norm".into(), norm);
    metrics.insert("policy/lr".into(), lr);
    if let (Some(critic), Some(grads)) = (&mut learner.critic, &grads.critic) {
        let lr = t.critic.lr_at(batch.step as usize, t.steps, learner.rules);
        critic.step(grads, critic_norm, &t.critic, lr)?;
        metrics.insert("val/grad_norm".into(), critic_norm);
    }
    Ok(metrics)
}

/// Gradients of one optimiser step, summed over its micro-batches.
struct StepGradients {
    policy: Gradients,
    critic: Option<Gradients>,
}

impl StepGradients {
    fn zeros(learner: &Learner) -> Self {
        let critic = learner.critic.as_ref();
        Self {
            policy: Gradients::zeros(learner.policy.optimizer.params()),
            critic: critic.map(|critic| Gradients::zeros(critic.optimizer.params())),
        }
    }

    /// Of policy and critic together.
    fn joined(self) -> Gradients {
        let mut all = self.policy;
        if let Some(critic) = self.critic {
            all.extend(critic);
        }
        all
    }
}

/// The algorithm's loss over some rows; its gradients are added to `grads`. The graphs of policy
/// and critic are built one after the other, so that memory holds one at a time.
fn accumulate(
    learner: &Learner,
    batch: &UpdateBatch,
    rows: &[usize],
    totals: Totals,
    grads: &mut StepGradients,
) -> Result<Loss> {
    let (roles, algorithm) = (&learner.roles, &learner.algorithm);
    let model = roles.model();
    let sequences = Batch::new(rows.iter().map(|r| batch.rows[*r].sequence()));
    let temperature: Vec<f32> = rows.iter().map(|r| batch.temperature[*r]).collect();
    let exp = batch.exp.select(rows);
    let TokenScores { logp, entropy } =
        policy::score(model, Some(&roles.policy), &sequences, &temperature, None)?;
    let logp_now = logp.detach();
    let logp = match exp.importance.is_empty() {
        true => logp,
        false => importance::weigh_gradient(&logp, &exp.importance)?,
    };
    let now = Scores { logp, entropy };
    let mut loss = algorithm.policy_loss(&now, &exp, totals)?;
    grads.policy.add(&loss.loss.backward()?)?;
    drop(now);
    loss.loss = loss.loss.detach();
    if let (Some(critic), Some(grads)) = (&roles.critic, &mut grads.critic) {
        let values = critic.values(model, &sequences)?;
        let value = algorithm.value_loss(&values, &exp, totals)?;
        grads.add(&value.loss.backward()?)?;
        loss.loss = (loss.loss + value.loss.detach())?;
        loss.metrics.extend(value.metrics);
    }
    // Log this only if all rows are comparable; otherwise the sum divided by all tokens would not
    // be a mean.
    if batch.scored_as_drawn() && !batch.exp.logp_sampled.is_empty() {
        let gap = sampler_gap(&logp_now, &exp)?;
        let gap = gap / totals.tokens as f64;
        loss.metrics.insert(SAMPLER_GAP.into(), gap);
    }
    Ok(loss)
}

/// Which row of the step, from 0, is the first whose log-probs are not finite.
fn first_bad_row(learner: &Learner, batch: &UpdateBatch, rows: &[usize]) -> Result<String> {
    let (model, policy) = (learner.roles.model(), learner.roles.policy.frozen());
    for row in rows {
        let sequence = Batch::new([batch.rows[*row].sequence()]);
        let temperature = &batch.temperature[*row..=*row];
        let scores = policy::score(model, Some(&policy), &sequence, temperature, None)?;
        if !scores.logp.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Ok(format!("row {row} of the batch is the first bad one"));
        }
    }
    Ok("each row's log-probs are finite".into())
}

/// Sum over the tokens of sampled rows of |logp now − logp sampled|.
fn sampler_gap(logp: &Tensor, exp: &Experience) -> candle_core::Result<f64> {
    let now = logp.to_vec1::<f32>()?;
    let layout = exp.layout();
    let tokens = layout.ranges().zip(&exp.sampled);
    let drawn = tokens
        .filter(|(_, drawn)| **drawn)
        .flat_map(|(range, _)| range);
    Ok(drawn
        .map(|at| f64::from((now[at] - exp.logp_sampled[at]).abs()))
        .sum())
}
