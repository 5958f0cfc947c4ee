//! The fit loop of the supervised stages: batches, accumulation, clipping, the update, evaluation,
//! checkpoints, resuming. The loss is the [`Objective`]'s. RL has a loop of its own.

mod broken;
mod outcome;
mod state;
mod step;

pub use state::Best;

use crate::{AdamW, Evaluation, FitConfig, Frozen, NewLength, Objective, Rows, Tripwire};
use anyhow::{Result, ensure};
use candle_core::Var;
use data::{Cursor, Loader};
use run::{Progress, Rules, Run};
use state::{FitState, FitStep, Window};
use std::collections::BTreeMap;

/// The summary of a finished fit; also in run.json.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Optimiser steps taken
    pub steps: usize,
    /// False: stopped by the user, after a checkpoint
    pub finished: bool,
    /// Held-out loss before the first step
    pub start_loss: f64,
    /// The lowest held-out loss after a step, and that step; None: stopped before the first
    /// evaluation
    pub best: Option<Best>,
    /// The latest held-out loss
    pub last_loss: f64,
}

/// Trains to the end of the schedule and closes the run. With `resume` it continues from the last
/// complete checkpoint and ends with the same parameters as an uninterrupted run, bit for bit. A
/// loss or gradient that is not finite is an error; the last good checkpoint is kept. After Ctrl-C
/// it writes a checkpoint and returns early.
pub fn fit<O: Objective>(
    objective: &mut O,
    data: &dyn Rows<Item = O::Item>,
    config: &FitConfig,
    run: &mut Run,
    resume: bool,
) -> Result<Summary> {
    config.check()?;
    ensure!(data.mixture().n_rows() > 0, "there is nothing to train on");
    let mut fit = Fit::start(objective, data, config, run, resume)?;
    if fit.ended() {
        let key = length_key(config, fit.total);
        fit.run.say_if_finished_already(fit.total as u64, key);
    }
    let mut progress = Progress::starting_at("train", fit.total as u64, fit.state.step as u64);
    while !fit.ended() {
        let step = fit.state.step + 1;
        let report = fit.step().map_err(|e| fit.failed(step, e))?;
        let message = format!("loss {:.4}", report.loss);
        progress.update(fit.state.step as u64, report.tokens as u64, &message);
        fit.after_step(&report)?;
    }
    progress.finish("");
    fit.close()
}

/// A fit in progress.
struct Fit<'a, O: Objective> {
    objective: &'a mut O,
    data: &'a dyn Rows<Item = O::Item>,
    config: &'a FitConfig,
    run: &'a mut Run,
    params: Vec<(String, Var)>,
    optimizer: AdamW,
    loader: Loader,
    total: usize,
    tripwire: Option<Tripwire>,
    frozen: Frozen,
    /// Tells the masks of dropout of one seed from those of another
    mask_key: u64,
    stopped: bool,
    state: FitState,
}

impl<'a, O: Objective> Fit<'a, O> {
    fn start(
        objective: &'a mut O,
        data: &'a dyn Rows<Item = O::Item>,
        config: &'a FitConfig,
        run: &'a mut Run,
        resume: bool,
    ) -> Result<Self> {
        let params = objective.params();
        ensure!(!params.is_empty(), "the model has no trainable parameter");
        let mut optimizer = AdamW::new(params.clone(), &config.optimizer)?;
        let mixture = data.mixture();
        let n_rows = mixture.n_rows();
        let saved = match resume {
            true => load(objective, &mut optimizer, n_rows, config, run)?,
            false => None,
        };
        let cursor = saved.as_ref().map_or(Cursor::default(), |s| s.cursor);
        let loader = Loader::new(&mixture, config.batch_size, config.seed, cursor);
        let total = config.total_steps(loader.batches_per_epoch());
        let per_epoch = loader.batches_per_epoch();
        let length = saved
            .as_ref()
            .and_then(|state| new_length(run, config, state.step, per_epoch));
        if let Some(length) = &length {
            length.check()?;
        }
        run.begin()?;
        if let Some(length) = length {
            report_jump(&length, config, run.rules());
        }
        let state = match saved {
            Some(state) => state,
            None => first_state(evaluate(objective, run, 0)?, config.seed, n_rows),
        };
        run.prune(config.keep())?;
        let tripwire = match state.step {
            0 => Some(Tripwire::new(&params)?),
            _ => None,
        };
        if let Some(capped) = config.capped_by_epochs(per_epoch) {
            run.note("max_steps", &capped)?;
        }
        let frozen = Frozen::new(&objective.frozen())?;
        let mask_key = match run.rules() >= Rules::SeededDropout {
            true => run::stream_key(config.seed, "dropout"),
            false => 0,
        };
        Ok(Self {
            objective,
            data,
            config,
            run,
            params,
            optimizer,
            loader,
            total,
            tripwire,
            frozen,
            mask_key,
            stopped: false,
            state,
        })
    }

    /// Logging, evaluation, samples and checkpoint, each at its cadence.
    fn after_step(&mut self, report: &FitStep) -> Result<()> {
        let (step, config) = (self.state.step, self.config);
        let last = step == self.total;
        let due = |every: usize| last || (every > 0 && step.is_multiple_of(every));
        if due(config.log_every) {
            self.log(report)?;
        }
        if due(config.eval_every) {
            let loss = evaluate(self.objective, self.run, step)?;
            self.state.last_loss = loss;
            outcome::note_divergence(self.run, &self.state, self.objective.has_held_out())?;
            // A tie goes to the later one: without held-out data every loss is equal.
            if self.state.best.is_none_or(|best| loss <= best.loss) {
                self.state.best = Some(Best { step, loss });
                self.objective.save_result(self.run)?;
            }
        }
        if due(config.sample_every)
            && let Some(text) = self.objective.sample(step as u64)?
        {
            self.run.sample(step as u64, &text)?;
        }
        self.stopped = !last && run::stop_requested();
        if due(config.save_every) || self.stopped {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn log(&mut self, report: &FitStep) -> Result<()> {
        let mut row = std::mem::take(&mut self.state.window).row();
        row.insert("train/lr".into(), report.lr);
        row.insert("train/grad_norm".into(), report.grad_norm);
        let epoch = self.state.step as f64 / self.loader.batches_per_epoch() as f64;
        row.insert("train/epoch".into(), epoch);
        self.run.log(self.state.step as u64, &row)
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.check_update()?;
        let (objective, optimizer) = (&*self.objective, &self.optimizer);
        let keep = self.config.keep();
        self.run
            .checkpoint(self.state.step as u64, keep, &self.state, |dir| {
                objective.save_params(dir)?;
                optimizer.save(&dir.join("optimizer.safetensors"))
            })
    }

    fn ended(&self) -> bool {
        self.stopped || self.state.step >= self.total
    }

    fn close(self) -> Result<Summary> {
        if !self.stopped {
            outcome::note_result(self.run, &self.state, self.objective.has_held_out())?;
        }
        let FitState {
            step,
            start_loss,
            last_loss,
            best,
            ..
        } = self.state;
        if self.stopped {
            self.run.stopped(step as u64)?;
        } else {
            let mut summary = BTreeMap::from([("steps".to_string(), step as f64)]);
            if let Some(best) = best.filter(|_| self.objective.has_held_out()) {
                summary.insert("start_loss".into(), start_loss);
                summary.insert("last_loss".into(), last_loss);
                summary.insert("best_loss".into(), best.loss);
                summary.insert("best_step".into(), best.step as f64);
            }
            self.run.finish(&summary)?;
        }
        Ok(Summary {
            steps: step,
            finished: !self.stopped,
            start_loss,
            best,
            last_loss,
        })
    }
}

/// Loads the newest checkpoint, if there is one.
fn load<O: Objective>(
    objective: &mut O,
    optimizer: &mut AdamW,
    n_items: usize,
    config: &FitConfig,
    run: &Run,
) -> Result<Option<FitState>> {
    let Some(checkpoint) = run.latest_checkpoint()? else {
        return Ok(None);
    };
    let at = checkpoint.dir.display();
    let state: FitState = run.read_state(&checkpoint)?;
    ensure!(
        state.seed == config.seed && state.n_items == n_items,
        "{at} has seed {} and {} training items, this run has seed {} and {n_items}: the settings are \
         others, or this version reads other rows of the files; resume with what began the run",
        state.seed,
        state.n_items,
        config.seed
    );
    objective.load_params(&checkpoint.dir)?;
    optimizer.load(&checkpoint.dir.join("optimizer.safetensors"))?;
    Ok(Some(state))
}

/// Before the first step. `loss`: of the held-out items.
fn first_state(loss: f64, seed: u64, n_items: usize) -> FitState {
    FitState {
        step: 0,
        cursor: Cursor::default(),
        seed,
        n_items,
        start_loss: loss,
        last_loss: loss,
        best: None,
        window: Window::default(),
    }
}

fn report_jump(length: &NewLength, config: &FitConfig, rules: Rules) {
    let lr_of = |total| move |step| config.optimizer.lr_at(step, total, rules);
    let (before, now) = (lr_of(length.before), lr_of(length.now));
    let jump = length.jump("the learning rate goes", [&before, &now]);
    length.report(jump.as_slice());
}

/// Refuses a `train.max_steps` that a resumed run has passed, which needs no row. Where the number
/// of rows decides, [`fit`] does.
pub fn check_max_steps(run: &Run, config: &FitConfig) -> Result<()> {
    let old: Option<FitConfig> = run.settings_before("train");
    let done = run.latest_checkpoint()?.map_or(0, |c| c.step as usize);
    match (old, config.max_steps) {
        (Some(old), Some(now)) if now < done && old.max_steps != Some(now) => NewLength {
            key: "train.max_steps",
            done,
            before: done,
            now,
        }
        .check(),
        _ => Ok(()),
    }
}

/// The length of a resumed run beside the one it had. `done`: the steps it has.
fn new_length(run: &Run, config: &FitConfig, done: usize, per_epoch: usize) -> Option<NewLength> {
    let old: FitConfig = run.settings_before("train")?;
    let (before, now) = (old.total_steps(per_epoch), config.total_steps(per_epoch));
    Some(NewLength {
        key: length_key(config, now),
        done,
        before,
        now,
    })
}

/// The setting that ends a run after `total` steps.
fn length_key(config: &FitConfig, total: usize) -> &'static str {
    match config.max_steps {
        Some(max) if max == total => "train.max_steps",
        _ => "train.epochs",
    }
}

fn evaluate<O: Objective>(objective: &mut O, run: &mut Run, step: usize) -> Result<f64> {
    let Evaluation { loss, metrics } = objective.evaluate()?;
    ensure!(
        loss.is_finite(),
        "step {step}: the held-out loss is {loss}; lower the learning rate or look at the data"
    );
    if !objective.has_held_out() {
        return Ok(loss);
    }
    let mut row = BTreeMap::from([("eval/loss".to_string(), loss)]);
    for (name, value) in metrics {
        row.insert(format!("eval/{name}"), value);
    }
    run.log(step as u64, &row)?;
    Ok(loss)
}
