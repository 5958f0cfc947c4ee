//! The second half of a step: epochs of minibatches, each the algorithm's loss with graph and one optimiser step.

use crate::learner::{Learner, Metrics};
use crate::row::Row;
use algorithms::{Experience, Loss, Requirements, Scores, Totals, importance};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use ops::TokenScores;
use policy::Batch;
use rand::seq::SliceRandom;
use train::Gradients;

/// Mean over tokens of |logp of the training forward − logp of the sampler| at the step's first update.
const SAMPLER_GAP: &str = "policy/sampler_gap";
/// Logged as `first/…` too, for the step's first update: 0 but for rounding, or it is not of the policy that logp_old was read of.
const AT_FIRST: [&str; 2] = ["policy/approxkl", "policy/clipfrac"];

impl Learner<'_> {
    pub fn update(
        &mut self,
        step: u64,
        rows: &[Row],
        exp: &Experience,
        temperature: &[f32],
        same_forward: bool,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let needs = self.algorithm.requirements();
        let units = units(exp, needs.whole_groups);
        let seed = self.config.train.seed;
        let passes: Vec<Vec<Vec<usize>>> = (0..needs.epochs)
            .map(|epoch| minibatches(units.len(), &needs, seed, step, epoch))
            .collect();
        let n_updates = passes.iter().map(Vec::len).sum::<usize>();
        let narrow = self.roles.model().activation_dtype() != DType::F32;
        let apart = self.roles.samples_apart();
        let watch = self.config.watch.of_sampler(apart, narrow);
        let mut first = true;
        for pass in passes {
            for minibatch in pass {
                let units: Vec<&[usize]> = minibatch.iter().map(|u| units[*u].as_slice()).collect();
                let check = |metrics: &Metrics| match first {
                    true => watch.check_first(metrics, same_forward),
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
        train::injected_fault(step + 1)?;
        for range in models::micro_batches(&sequences, self.config.train.micro_batch_tokens) {
            let at: Vec<usize> = units[range]
                .iter()
                .flat_map(|u| u.iter().copied())
                .collect();
            let grads = (&mut policy_grads, critic_grads.as_mut());
            let Loss {
                loss,
                metrics: part,
            } = self.accumulate(rows, exp, temperature, &at, totals, grads)?;
            let value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                let mut all = policy_grads;
                if let Some(critic) = critic_grads {
                    all.extend(critic);
                }
                let diagnosis = train::diagnose(&self.params(), &all)?;
                let row = self.first_bad_row(rows, temperature, &at)?;
                bail!("the loss is {value}; {diagnosis}; {row}; lower the learning rate");
            }
            for (name, value) in part {
                *metrics.entry(name).or_default() += value;
            }
        }
        check(&metrics)?;
        let t = &self.config.train;
        let lr = t.policy_lr(step, self.algorithm.as_ref());
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

    /// The method's losses over the rows `at`. Adds their gradients to those of policy and critic, one
    /// graph after the other, so that only one is in memory.
    fn accumulate(
        &self,
        rows: &[Row],
        exp: &Experience,
        whole_temperature: &[f32],
        at: &[usize],
        totals: Totals,
        (policy_grads, critic_grads): (&mut Gradients, Option<&mut Gradients>),
    ) -> Result<Loss> {
        let model = self.roles.model();
        let batch = Batch::new(at.iter().map(|r| rows[*r].sequence()));
        let temperature: Vec<f32> = at.iter().map(|r| whole_temperature[*r]).collect();
        // Only where every row of the step is scored as it was drawn; a part of them would be no mean.
        let comparable = whole_temperature == exp.temperature && !exp.logp_sampled.is_empty();
        let exp = exp.select(at);
        let TokenScores { logp, entropy } =
            policy::score(model, Some(&self.roles.policy), &batch, &temperature, None)?;
        let logp_now = logp.detach();
        let logp = match exp.importance.is_empty() {
            true => logp,
            false => importance::weigh_gradient(&logp, &exp.importance)?,
        };
        let now = Scores { logp, entropy };
        let mut loss = self.algorithm.policy_loss(&now, &exp, totals)?;
        policy_grads.add(&loss.loss.backward()?)?;
        drop(now);
        loss.loss = loss.loss.detach();
        if let (Some(critic), Some(grads)) = (&self.roles.critic, critic_grads) {
            let values = critic.values(model, &batch)?;
            let value = self.algorithm.value_loss(&values, &exp, totals)?;
            grads.add(&value.loss.backward()?)?;
            loss.loss = (loss.loss + value.loss.detach())?;
            loss.metrics.extend(value.metrics);
        }
        if comparable {
            let gap = sampler_gap(&logp_now, &exp)?;
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
                policy::score(self.roles.model(), Some(&policy), &batch, temperature, None)?;
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
        let mut sum = policy::score(model, Some(&self.roles.policy), &batch, &[1.0], None)?
            .logp
            .sum_all()?;
        if let Some(critic) = &self.roles.critic {
            sum = (sum + critic.values(model, &batch)?.sum_all()?)?;
        }
        let mut grads = Gradients::zeros(&params);
        grads.add(&sum.backward()?)?;
        let bad = train::first_non_finite(&params)?.is_some() || grads.norm()?.1.is_some();
        if bad || !sum.to_scalar::<f32>()?.is_finite() {
            let diagnosis = train::diagnose(&params, &grads)?;
            bail!("the update broke the weights: {diagnosis}; lower the learning rate");
        }
        Ok(())
    }
}

/// Sum over the tokens of drawn rows of |logp now − logp sampled|.
fn sampler_gap(logp: &Tensor, exp: &Experience) -> candle_core::Result<f64> {
    let now = logp.detach().to_vec1::<f32>()?;
    let layout = exp.layout();
    let tokens = layout.ranges().zip(&exp.sampled);
    let drawn = tokens
        .filter(|(_, drawn)| **drawn)
        .flat_map(|(range, _)| range);
    Ok(drawn
        .map(|at| f64::from((now[at] - exp.logp_sampled[at]).abs()))
        .sum())
}

/// Units of one minibatch. Rounded up, which may leave fewer minibatches than were asked for.
pub(crate) fn minibatch_size(n_units: usize, needs: &Requirements) -> usize {
    n_units.div_ceil(needs.minibatches).max(1)
}

/// The units of each minibatch of a pass, in their order.
pub(crate) fn minibatches(
    n_units: usize,
    needs: &Requirements,
    seed: u64,
    step: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..n_units).collect();
    order.shuffle(&mut run::stream(seed, "minibatches", step, epoch as u64));
    let sorted = |minibatch: &[usize]| {
        let mut minibatch = minibatch.to_vec();
        minibatch.sort_unstable();
        minibatch
    };
    let size = minibatch_size(n_units, needs);
    order.chunks(size).map(sorted).collect()
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
