//! The fit loop of supervised stages: batches, accumulation, clipping, the update, evaluation, checkpoints, resuming.
//! The mathematics is the [`Objective`]'s; RL has a loop of its own.

use crate::{
    AdamW, FitConfig, Frozen, Gradients, Tripwire, blame, clip_scale, first_non_finite, param_bytes,
};
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Tensor, Var};
use data::{Cursor, Loader};
use run::{Progress, Run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What is optimised. A stage implements this and nothing else of the loop.
pub trait Objective {
    /// Saved as JSON where a step is refused
    type Item: Serialize;

    /// Tokens a forward spends on one item, for the micro-batch budget and tokens/s.
    fn tokens(&self, item: &Self::Item) -> usize;

    /// What a step's summed loss is divided by: response tokens (sft), pairs (reward model). Over the whole step, so that
    /// the cut into micro-batches changes nothing.
    fn count(&self, items: &[&Self::Item]) -> usize;

    /// Summed loss of one micro-batch, a scalar with graph, and sums of further metrics (logged as `train/<name>`, divided
    /// as the loss is). `draw` is unique to this forward and the same on every run: it keys dropout. Draw 0 is the check
    /// before a checkpoint, which trains nothing.
    fn loss_sum(
        &mut self,
        items: &[&Self::Item],
        draw: u64,
    ) -> Result<(Tensor, BTreeMap<String, f64>)>;

    /// Held-out loss (lower is better; it picks the best) and metrics, logged as `eval/<name>`. No graph.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// False: there is nothing to evaluate on, so no held-out loss is logged and the result is the latest.
    fn has_held_out(&self) -> bool {
        true
    }

    /// Trainable parameters by name, in a fixed order.
    fn params(&self) -> Vec<(String, Var)>;

    /// Weights that training must leave alone, in a fixed order.
    fn frozen(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Puts the result (adapter, reward artefact, model) into the run: called whenever the held-out loss is the best so far.
    fn save_result(&self, run: &Run) -> Result<()>;

    /// Writes the trainable parameters into a checkpoint.
    fn save_params(&self, dir: &Path) -> Result<()>;

    fn load_params(&mut self, dir: &Path) -> Result<()>;

    /// Readable samples of the present state, Markdown.
    fn sample(&mut self, step: u64) -> Result<Option<String>>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub loss: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// What a finished fit says of itself; also in run.json.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub steps: usize,
    /// False: stopped by its user, after a checkpoint.
    pub finished: bool,
    /// Held-out loss before the first step.
    pub start_loss: f64,
    /// The lowest held-out loss after a step, and that step. None: stopped before the first evaluation.
    pub best: Option<Best>,
    /// The latest held-out loss.
    pub last_loss: f64,
}

/// A checkpoint's state.json.
#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    cursor: Cursor,
    seed: u64,
    n_items: usize,
    start_loss: f64,
    last_loss: f64,
    best: Option<Best>,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: usize,
    pub loss: f64,
}

/// Sums since the last logged row.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Window {
    loss: f64,
    count: f64,
    tokens: f64,
    steps: u64,
    /// Seconds by phase, `time/…`
    time: BTreeMap<String, f64>,
    metrics: BTreeMap<String, f64>,
}

/// Trains to the end of the schedule and closes the run. With `resume`, goes on from the last complete checkpoint and
/// arrives at the same parameters as an uninterrupted run, bit for bit. Stops with an error, the last good checkpoint kept,
/// when a loss or gradient is not finite. After Ctrl-C it writes a checkpoint and returns early.
pub fn fit<O: Objective>(
    objective: &mut O,
    data: &[O::Item],
    config: &FitConfig,
    run: &mut Run,
    resume: bool,
) -> Result<Summary> {
    config.check()?;
    ensure!(!data.is_empty(), "there is nothing to train on");
    let mut fit = Fit::start(objective, data, config, run, resume)?;
    let mut progress = Progress::starting_at("train", fit.total as u64, fit.state.step as u64);
    while !fit.ended() {
        let report = fit.step()?;
        let message = format!("loss {:.4}", report.loss);
        progress.update(fit.state.step as u64, report.tokens as u64, &message);
        fit.after_step(&report)?;
    }
    progress.finish("");
    fit.close()
}

struct Fit<'a, O: Objective> {
    objective: &'a mut O,
    data: &'a [O::Item],
    config: &'a FitConfig,
    run: &'a mut Run,
    params: Vec<(String, Var)>,
    optimizer: AdamW,
    loader: Loader,
    total: usize,
    tripwire: Option<Tripwire>,
    frozen: Frozen,
    stopped: bool,
    state: State,
}

struct StepReport {
    loss: f64,
    lr: f64,
    grad_norm: f64,
    tokens: usize,
}

impl<'a, O: Objective> Fit<'a, O> {
    fn start(
        objective: &'a mut O,
        data: &'a [O::Item],
        config: &'a FitConfig,
        run: &'a mut Run,
        resume: bool,
    ) -> Result<Self> {
        let params = objective.params();
        ensure!(!params.is_empty(), "the model has no trainable parameter");
        let mut optimizer = AdamW::new(params.clone(), &config.optimizer)?;
        let checkpoint = if resume {
            run.latest_checkpoint()?
        } else {
            None
        };
        let state = match &checkpoint {
            Some(checkpoint) => {
                let at = checkpoint.dir.display();
                let state: State = run.read_state(checkpoint)?;
                ensure!(
                    state.seed == config.seed && state.n_items == data.len(),
                    "{at} is of seed {} and {} training items, this run of seed {} and {}; resume with the same settings",
                    state.seed,
                    state.n_items,
                    config.seed,
                    data.len()
                );
                objective.load_params(&checkpoint.dir)?;
                optimizer.load(&checkpoint.dir.join("optimizer.safetensors"))?;
                state
            }
            None => {
                run.require_room(param_bytes(&params), config.keep())?;
                let start = evaluate(objective, run, 0)?;
                State {
                    step: 0,
                    cursor: Cursor::default(),
                    seed: config.seed,
                    n_items: data.len(),
                    start_loss: start,
                    last_loss: start,
                    best: None,
                    window: Window::default(),
                }
            }
        };
        let loader = Loader::new(data.len(), config.batch_size, config.seed, state.cursor);
        let total = config.total_steps(loader.batches_per_epoch());
        let tripwire = match state.step {
            0 => Some(Tripwire::new(&params)?),
            _ => None,
        };
        let frozen = Frozen::new(&objective.frozen())?;
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
            stopped: false,
            state,
        })
    }

    /// One optimiser step. Errors leave the parameters as the last step left them.
    fn step(&mut self) -> Result<StepReport> {
        let began = Instant::now();
        let (step, data) = (self.state.step + 1, self.data);
        let batch: Vec<&O::Item> = self
            .loader
            .next_batch()
            .into_iter()
            .map(|i| &data[i])
            .collect();
        let lens: Vec<usize> = batch.iter().map(|i| self.objective.tokens(i)).collect();
        let count = self.objective.count(&batch) as f64;
        ensure!(
            count > 0.0,
            "step {step}: no item of the batch has anything to learn from"
        );

        let mut time = BTreeMap::new();
        let mut last = began;
        let mut lap = |phase: &str| {
            *time.entry(phase.to_string()).or_insert(0.0) += last.elapsed().as_secs_f64();
            last = Instant::now();
        };
        let mut grads = Gradients::zeros(&self.params);
        let mut loss_sum = 0.0;
        let ranges = ops::micro_batches(&lens, self.config.micro_batch_tokens);
        for (i, range) in ranges.into_iter().enumerate() {
            let draw = (step as u64) << 16 | i as u64;
            let (loss, metrics) = self.objective.loss_sum(&batch[range], draw)?;
            let value = f64::from(loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
            lap("time/forward");
            let scaled = (loss / count)?;
            grads.add(&scaled.backward()?)?;
            lap("time/backward");
            if !value.is_finite() {
                return self.not_finite(step, &format!("the loss is {value}"), &grads, &batch);
            }
            loss_sum += value;
            for (name, sum) in metrics {
                *self.state.window.metrics.entry(name).or_default() += sum;
            }
        }

        let (grad_norm, bad) = grads.norm()?;
        if bad.is_some() {
            return self.not_finite(step, "a gradient is not finite", &grads, &batch);
        }
        if step == 1
            && let Some(name) = grads.missing().next()
        {
            bail!("step 1: no gradient reaches {name}; it would never be trained");
        }
        let lr = self.config.optimizer.lr_at(step - 1, self.total);
        let scale = clip_scale(grad_norm, self.config.optimizer.max_grad_norm);
        self.optimizer.step(&grads, lr, scale)?;
        if let Some(tripwire) = &mut self.tripwire
            && tripwire
                .passed(&self.params, lr)
                .with_context(|| format!("step {step}"))?
        {
            self.tripwire = None;
        }

        lap("time/optimizer");
        time.insert("time/step".into(), began.elapsed().as_secs_f64());
        let tokens: usize = lens.iter().sum();
        let window = &mut self.state.window;
        window.loss += loss_sum;
        window.count += count;
        window.tokens += tokens as f64;
        window.steps += 1;
        for (phase, secs) in time {
            *window.time.entry(phase).or_default() += secs;
        }
        self.state.step = step;
        self.state.cursor = self.loader.cursor();
        Ok(StepReport {
            loss: loss_sum / count,
            lr,
            grad_norm,
            tokens,
        })
    }

    /// A checkpoint must be one to go on from: the update before it may have broken the weights, which the next loss
    /// or its gradient would be the first to show.
    fn check_update(&mut self) -> Result<()> {
        let step = self.state.step;
        self.frozen
            .check(&self.objective.frozen())
            .with_context(|| format!("step {step}"))?;
        let data = self.data;
        let (loss, _) = self.objective.loss_sum(&[&data[0]], 0)?;
        let mut grads = Gradients::zeros(&self.params);
        grads.add(&loss.backward()?)?;
        let loss = loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
        let bad = first_non_finite(&self.params)?.is_some() || grads.norm()?.1.is_some();
        if loss.is_finite() && !bad {
            return Ok(());
        }
        let what = format!("the update broke the weights (the loss is now {loss})");
        self.not_finite(step, &what, &grads, &[&data[0]])
    }

    /// The error of a step whose numbers broke: what, which tensor first, and where to go back to.
    /// Its batch is kept in the run directory.
    fn not_finite<T>(
        &mut self,
        step: usize,
        what: &str,
        grads: &Gradients,
        batch: &[&O::Item],
    ) -> Result<T> {
        let tensor = blame(&self.params, grads)?;
        let row = self.first_bad_row(step, batch)?;
        let kept = match self.run.latest_checkpoint()? {
            Some(checkpoint) => format!("the last good checkpoint is {}", checkpoint.dir.display()),
            None => "no checkpoint was written yet".to_string(),
        };
        let why = format!("{what}; {tensor}; {row}");
        let rows = serde_json::json!({ "step": step, "why": why, "rows": batch });
        let file = self.run.failed(step as u64, &rows)?;
        bail!(
            "step {step}: {why}; its batch is in {}; {kept}; lower the learning rate or look at the data",
            file.display()
        )
    }

    /// Which row of the batch, from 0, is the first whose loss is not finite.
    fn first_bad_row(&mut self, step: usize, batch: &[&O::Item]) -> Result<String> {
        for (row, item) in batch.iter().enumerate() {
            let (loss, _) = self.objective.loss_sum(&[*item], (step as u64) << 16)?;
            let loss = loss.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?;
            if !loss.is_finite() {
                return Ok(format!("row {row} of the batch is the first bad one"));
            }
        }
        Ok("each row's loss alone is finite".into())
    }

    /// Logging, evaluation, samples and checkpoint, each at its cadence.
    fn after_step(&mut self, report: &StepReport) -> Result<()> {
        let (step, config) = (self.state.step, self.config);
        let last = step == self.total;
        let due = |every: usize| last || (every > 0 && step.is_multiple_of(every));
        if due(config.log_every) {
            self.log(report)?;
        }
        if due(config.eval_every) {
            let loss = evaluate(self.objective, self.run, step)?;
            self.state.last_loss = loss;
            // a tie goes to the later one: without held-out data every loss is equal
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

    fn log(&mut self, report: &StepReport) -> Result<()> {
        let window = std::mem::take(&mut self.state.window);
        let mut metrics = BTreeMap::from([
            ("train/loss".to_string(), window.loss / window.count),
            ("train/lr".to_string(), report.lr),
            ("train/grad_norm".to_string(), report.grad_norm),
            (
                "train/tokens_per_sec".to_string(),
                window.tokens / window.time["time/step"].max(1e-9),
            ),
            (
                "train/epoch".to_string(),
                self.state.step as f64 / self.loader.batches_per_epoch() as f64,
            ),
        ]);
        for (name, sum) in window.metrics {
            metrics.insert(format!("train/{name}"), sum / window.count);
        }
        for (phase, secs) in window.time {
            metrics.insert(phase, secs / window.steps as f64);
        }
        self.run.log(self.state.step as u64, &metrics)
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
        let State {
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
