//! The loop over RL steps: evaluation, samples and checkpoints at their cadences, warnings, and
//! stopping. A step itself is [`rl_step`](crate::rl_step).

use crate::checkpoint::{self, BestEvaluation, LoopState, save_policy};
use crate::config::Config;
use crate::evaluation::evaluate;
use crate::failed;
use crate::learner::Learner;
use crate::outcome;
use crate::replay::SettingsByStep;
use crate::rl_step::{StepReport, rl_step};
use crate::samples_markdown::{self, headline};
use crate::setup::{self, Session, record_warnings};
use algorithms::Metrics;
use anyhow::{Error, Result, anyhow};
use run::{Progress, RunArgs, StoppedBySignal};

/// Trains a policy into `args.run`.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let config = config.resolved()?;
    let mut session = setup::open(args, &config, false)?;
    let n_steps = config.train.steps as u64;
    if session.step >= n_steps {
        session.run.say_if_finished_already(n_steps, "train.steps");
    }
    let mut progress = Progress::starting_at("rlhf", n_steps, session.step);
    if session.step == 0 {
        let metrics = session.evaluate()?;
        session.run.log(0, &metrics)?;
    }
    while session.step < n_steps {
        let report = session.take_step()?;
        let stopping = session.after_step(report, &mut progress)?;
        if stopping && session.step < n_steps {
            progress.finish("stopped");
            return session.run.stopped(session.step);
        }
    }
    progress.finish("done");
    session.close()
}

/// Goes from the last checkpoint to `step` and hands it to `look`. Logs and saves nothing. The run
/// is opened with the first settings, and takes each step under those of `by_step`.
pub(crate) fn replay_to(
    args: &RunArgs,
    (config, by_step): (&Config, &SettingsByStep),
    step: u64,
    look: &mut dyn FnMut(&Learner, &StepReport) -> Result<()>,
) -> Result<()> {
    let config = config.resolved()?;
    let mut session = setup::open(args, &config, true)?;
    let mut progress = Progress::starting_at("rlhf", config.train.steps as u64, session.step);
    loop {
        session.learner.config = by_step.of(session.step + 1)?;
        let report = session.take_step()?;
        if session.step == step {
            progress.finish("");
            return look(&session.learner, &report);
        }
        if run::stop_requested() {
            return Err(StoppedBySignal(format!("stopped before step {step}")).into());
        }
    }
}

impl Session<'_> {
    fn take_step(&mut self) -> Result<StepReport> {
        let report = rl_step(&mut self.learner, self.step, &self.run)
            .map_err(|why| self.failed_step(self.step + 1, why))?;
        let warmup = self.learner.config.train.critic_warmup_steps as u64;
        self.totals.add(&report, self.step < warmup);
        self.step += 1;
        Ok(report)
    }

    /// Warnings, evaluation, log, samples and checkpoint. True: the run stops here.
    fn after_step(&mut self, mut report: StepReport, progress: &mut Progress) -> Result<bool> {
        let (step, config) = (self.step, self.learner.config);
        let t = &config.train;
        for warning in &report.warnings {
            run::say!("step {step}: {warning}");
        }
        if !report.warnings.is_empty() {
            record_warnings(&mut self.run, &self.learner.watch)?;
        }
        let stopping = run::stop_requested() || (config.watch.stop && !report.warnings.is_empty());
        let last = step == t.steps as u64;
        let due = |every: usize| last || (every > 0 && step.is_multiple_of(every as u64));
        if due(t.eval_every) {
            let metrics = self.evaluate()?;
            self.keep_best(&metrics)?;
            report.metrics.extend(metrics);
        }
        self.run.log(step, &report.metrics)?;
        if due(t.sample_every) {
            let text = samples_markdown::rows(&self.learner.roles, &report, step)?;
            self.run.sample(step, &text)?;
        }
        if due(t.save_every) || stopping {
            self.save(&report)?;
        }
        progress.update(step, report.tokens_drawn as u64, &headline(&report.metrics));
        Ok(stopping)
    }

    fn evaluate(&mut self) -> Result<Metrics> {
        evaluate(&mut self.learner, &self.eval_tasks)
            .map_err(|why| self.failed_step(self.step, why))
    }

    /// Saves the policy in `best/` if this evaluation has the highest reward so far.
    fn keep_best(&mut self, metrics: &Metrics) -> Result<()> {
        if let Some(&reward) = metrics.get("eval/reward")
            && self.best.is_none_or(|best| reward > best.reward)
        {
            let step = self.step;
            self.best = Some(BestEvaluation { step, reward });
            save_policy(&self.learner, &self.run, "best")?;
        }
        Ok(())
    }

    /// Writes the adapter and a checkpoint, unless the last update broke the weights.
    fn save(&mut self, report: &StepReport) -> Result<()> {
        let (step, learner) = (self.step, &mut self.learner);
        let state = LoopState {
            step,
            cursor: learner.source.cursor(),
            algorithm: learner.algorithm.state(),
            rewards: learner.roles.rewards.state(),
            totals: self.totals.clone(),
            best: self.best,
            watch: learner.watch.clone(),
        };
        checkpoint::check_weights(learner, &report.rows[0])
            .map_err(|e| failed::save_and_explain(&self.run, step, &report.rows, &report.exp, &e))
            .map_err(|why| failed_step(step, self.plan.with_oom_advice(why), &self.run))?;
        // Before the checkpoint: a run that is killed between the two takes this step again.
        save_policy(learner, &self.run, "adapter")?;
        let keep = learner.config.train.keep();
        self.run
            .checkpoint(step, keep, &state, |dir| checkpoint::save(learner, dir))
    }

    fn close(mut self) -> Result<()> {
        let min_kl = self.learner.config.watch.min_kl;
        outcome::note(&mut self.run, &self.totals, self.best, self.step, min_kl)?;
        let mut summary = self.totals.sums;
        summary.insert("samples_drawn".into(), self.totals.samples_drawn as f64);
        summary.insert("tokens_drawn".into(), self.totals.tokens_drawn as f64);
        if let Some(best) = self.best {
            summary.insert("best_step".into(), best.step as f64);
            summary.insert("best_reward".into(), best.reward);
        }
        self.run.finish(&summary)?;
        let model = &self.learner.config.model;
        outcome::say(self.run.dir(), model, self.best);
        Ok(())
    }

    fn failed_step(&self, step: u64, why: Error) -> Error {
        failed_step(step, self.plan.with_oom_advice(why), &self.run)
    }
}

/// The error of a step that cannot be taken: which step, why, and the checkpoint to go back to.
fn failed_step(step: u64, why: Error, run: &run::Run) -> Error {
    let kept = run.last_good();
    let hint = match why.downcast_ref() {
        Some(rewards::Error::External(_)) => "; once it answers, go on with --resume",
        _ => "",
    };
    anyhow!("step {step}: {}; {kept}{hint}", run::one_line(&why))
}
