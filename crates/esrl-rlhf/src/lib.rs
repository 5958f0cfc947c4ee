//! RL and its offline relatives on a LoRA policy: any method of the registry. One frozen base carries policy, reference, reward model and
//! critic; a step is `learner.rs`, the mathematics is in `algorithms`.

mod clauses;
mod cli;
mod clock;
mod config;
mod data;
mod explain;
mod failed;
mod feed;
mod gather;
mod learner;
mod pool;
mod read;
mod replay;
mod roles;
mod rollout;
mod row;
mod trainee;
mod update;
mod value;
pub mod watch;
mod workload;

pub use cli::Cli;
pub use config::Config;
pub use explain::explain;
pub use replay::{ReplayConfig, replay};

use ::data::Cursor;
use algorithms::{Needs, SamplingPlan};
use anyhow::{Result, anyhow, bail, ensure};
use clauses::Clauses;
use data::{Data, Task};
use feed::Feed;
use learner::{Learner, Metrics, StepReport};
use roles::Roles;
use run::{Progress, Run, RunArgs};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use train::Frozen;
use trainee::Trainee;
use watch::WatchState;

/// What a checkpoint holds beside tensors. Random streams are keyed by step, so they need no state.
#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    cursor: Cursor,
    algorithm: serde_json::Value,
    /// Null in runs of versions that had the reward model alone
    #[serde(default)]
    rewards: serde_json::Value,
    ledger: Ledger,
    #[serde(default)]
    best: Option<Best>,
    #[serde(default)]
    watch: WatchState,
}

/// The evaluation with the highest reward so far; its policy is `best/`.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Best {
    step: u64,
    reward: f64,
}

/// Sampling and time over the whole run, into run.json.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Ledger {
    /// Greedy estimates included, here and in the tokens.
    samples_drawn: usize,
    tokens_drawn: usize,
    /// Sums over steps of the metrics named `time/…` and `esrl/samples_full`
    sums: Metrics,
}

impl Ledger {
    fn add(&mut self, report: &StepReport) {
        self.samples_drawn += report.samples_drawn;
        self.tokens_drawn += report.tokens_drawn;
        let summed = |name: &str| name.starts_with("time/") || name == "esrl/samples_full";
        for (name, value) in report.metrics.iter().filter(|(name, _)| summed(name)) {
            *self.sums.entry(name.clone()).or_default() += value;
        }
    }
}

/// The registry, one line per algorithm.
pub fn list() -> String {
    let entries = algorithms::registry();
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let line = |e: &algorithms::Entry| format!("{:width$}  {} ({})\n", e.name, e.about, e.paper);
    entries.iter().map(line).collect()
}

/// Trains a policy into `args.run`.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    train(args, config, None)
}

/// Looks at a step of a run, which ends with it.
struct Look<'a> {
    step: u64,
    at: &'a mut dyn FnMut(&Learner, &StepReport) -> Result<()>,
}

fn train(args: &RunArgs, config: &Config, mut look: Option<Look>) -> Result<()> {
    let config = &config.resolved()?;
    let dir = args.run.clone().unwrap_or_else(|| "runs/rlhf".into());
    if !args.resume && dir.exists() {
        bail!(
            "{} exists; continue it with --resume or choose another --run",
            dir.display()
        );
    }
    let device = stage::device(&config.device)?;
    let algorithm = config.build_algorithm()?;
    let needs = algorithm.needs();
    let Data {
        train,
        held_out,
        n_shared,
    } = Data::read(config, &needs)?;
    if let Some(dir) = &config.model.reward {
        ensure!(
            dir.join("reward").is_dir(),
            "{}/reward is not there; model.reward must be a reward-model run that has saved its model",
            dir.display()
        );
    }
    let clauses = needs
        .clauses
        .then(|| Clauses::open(&config.rollout.clauses))
        .transpose()?;
    let mut roles = Roles::open(config, &needs, &device)?;
    let feed = Feed::new(train, &needs, &roles, config)?;
    let eval_tasks = tasks_for_evaluation(held_out.clone(), &roles, config)?;

    let work = workload::of(&roles, &feed, &needs, config);
    let memory = config.memory().apply(roles.model_mut(), &work)?;
    let mut run = if args.resume {
        Run::resume_by(&dir, "esrl-rlhf", config, |old: Config| old.resolved())?
    } else {
        Run::create(&dir, "esrl-rlhf", config)?
    };
    stage::write_identity(&mut run, &roles.base, &roles.template)?;
    run.record("reference", config.model.policy.clone().into())?;
    if let Some(reward) = &config.model.reward {
        run.record("reward", reward.to_string_lossy().into())?;
    }
    run.record("memory", memory)?;
    run.record("algorithm", serde_json::to_value(&config.algorithm)?)?;
    stage::record_data(
        &mut run,
        &config.data.path,
        serde_json::json!({ "rows": feed.n_rows(), "held_out_prompts": eval_tasks.len(), "held_out_in_training": n_shared }),
    )?;
    record_inputs(&mut run, config)?;
    run.write_file(
        "heldout.json",
        serde_json::to_string_pretty(&held_out)?.as_bytes(),
    )?;

    let t = &config.train;
    let policy = Trainee::new(roles.policy.vars(), &t.policy)?;
    let critic = roles
        .critic
        .as_ref()
        .map(|c| Trainee::new(c.params(), &t.critic))
        .transpose()?;
    let frozen = Frozen::new(&roles.frozen_tensors())?;
    let mut learner = Learner {
        config,
        clauses,
        feed,
        roles,
        algorithm,
        policy,
        critic,
        watch: WatchState::default(),
        frozen,
    };
    let (mut step, mut ledger, mut best) = (0, Ledger::default(), None);
    if let Some(checkpoint) = args
        .resume
        .then(|| run.latest_checkpoint())
        .transpose()?
        .flatten()
    {
        let state: State = run.read_state(&checkpoint)?;
        load(&mut learner, &needs, &checkpoint.dir)?;
        learner.algorithm.restore(&state.algorithm)?;
        learner.roles.rewards.restore(&state.rewards)?;
        learner.feed.seek(state.cursor, config);
        learner.watch = state.watch;
        (step, ledger, best) = (state.step, state.ledger, state.best);
    }
    record_warnings(&mut run, &learner.watch)?;
    let mut progress = Progress::starting_at("rlhf", t.steps as u64, step);
    if step == 0 && look.is_none() {
        run.require_room(::train::param_bytes(&learner.params()), t.keep())?;
        let metrics = evaluate(&mut learner, &eval_tasks).map_err(|e| failed_step(0, e, &run))?;
        run.log(0, &metrics)?;
    }
    while step < t.steps as u64 {
        let mut report = learner
            .step(step, &run)
            .map_err(|e| failed_step(step + 1, e, &run))?;
        ledger.add(&report);
        step += 1;
        if let Some(look) = &mut look {
            if look.step == step {
                progress.finish("");
                return (look.at)(&learner, &report);
            }
            ensure!(!run::stop_requested(), "stopped before step {}", look.step);
            continue;
        }
        let last = step == t.steps as u64;
        for warning in &report.warnings {
            eprintln!("step {step}: {warning}");
        }
        if !report.warnings.is_empty() {
            record_warnings(&mut run, &learner.watch)?;
        }
        let stopping = run::stop_requested() || (config.watch.stop && !report.warnings.is_empty());
        let due = |every: usize| step.is_multiple_of(every as u64) || last;
        if due(t.eval_every) {
            let metrics = evaluate(&mut learner, &eval_tasks);
            let metrics = metrics.map_err(|e| failed_step(step, e, &run))?;
            if let Some(&reward) = metrics.get("eval/reward")
                && best.is_none_or(|best: Best| reward > best.reward)
            {
                best = Some(Best { step, reward });
                save_policy(&learner, &run, "best")?;
            }
            report.metrics.extend(metrics);
        }
        run.log(step, &report.metrics)?;
        if due(t.sample_every) {
            run.sample(step, &readable(&learner.roles, &report, step)?)?;
        }
        if due(t.save_every) || stopping {
            let state = State {
                step,
                cursor: learner.feed.cursor(),
                algorithm: learner.algorithm.state(),
                rewards: learner.roles.rewards.state(),
                ledger: ledger.clone(),
                best,
                watch: learner.watch.clone(),
            };
            learner
                .check_update(&report.rows[0])
                .map_err(|e| failed::saved(&run, step, &report.rows, &report.exp, &e))
                .map_err(|e| failed_step(step, e, &run))?;
            // Before the checkpoint: a run that ends between the two does this step again.
            save_policy(&learner, &run, "adapter")?;
            run.checkpoint(step, t.keep(), &state, |dir| {
                save(&mut learner, &needs, dir)
            })?;
        }
        progress.update(step, report.tokens_drawn as u64, &headline(&report.metrics));
        if stopping && !last {
            progress.finish("stopped");
            return run.stopped(step);
        }
    }
    progress.finish("done");
    let mut summary = ledger.sums;
    summary.insert("samples_drawn".into(), ledger.samples_drawn as f64);
    summary.insert("tokens_drawn".into(), ledger.tokens_drawn as f64);
    if let Some(best) = best {
        summary.insert("best_step".into(), best.step as f64);
        summary.insert("best_reward".into(), best.reward);
    }
    run.finish(&summary)
}

/// The held-out file, the adapter that policy and reference begin as, and the reward model, by their content.
fn record_inputs(run: &mut Run, config: &Config) -> Result<()> {
    let (_, adapter) = stage::run_and_adapter(Path::new(&config.model.policy));
    let adapter = Some(adapter).filter(|dir| dir.is_dir());
    let reward = config.model.reward.as_ref().map(|dir| dir.join("reward"));
    let inputs = [config.data.eval_path.clone(), adapter, reward];
    let inputs: Vec<&Path> = inputs.iter().flatten().map(PathBuf::as_path).collect();
    stage::record_inputs(run, &inputs)
}

/// How often each health watch began to warn.
fn record_warnings(run: &mut Run, watch: &WatchState) -> Result<()> {
    run.record("warnings", serde_json::to_value(&watch.warnings)?)
}

/// The error of a step that cannot be taken: which, why, and where to go back to.
fn failed_step(step: u64, why: anyhow::Error, run: &Run) -> anyhow::Error {
    let kept = match run.latest_checkpoint() {
        Ok(Some(checkpoint)) => format!("the last good checkpoint is {}", checkpoint.dir.display()),
        _ => "no checkpoint was written yet".to_string(),
    };
    let hint = match why.downcast_ref() {
        Some(rewards::Error::External(_)) => "; once it answers, go on with --resume",
        _ => "",
    };
    anyhow!("step {step}: {}; {kept}{hint}", run::one_line(&why))
}

fn tasks_for_evaluation(
    mut prompts: Vec<::data::Prompt>,
    roles: &Roles,
    config: &Config,
) -> Result<Vec<Rc<Task>>> {
    prompts.truncate(config.train.eval_prompts);
    data::tasks("held-out", prompts, roles, config)
}

/// One sampled answer per held-out prompt: mean reward (where there is one), length, share that ends.
fn evaluate(learner: &mut Learner, tasks: &[Rc<Task>]) -> Result<Metrics> {
    if tasks.is_empty() {
        return Ok(Metrics::new());
    }
    let one = SamplingPlan {
        n: 1,
        temperature: None,
    };
    // The same random numbers at every evaluation, so that curves differ by the policy alone.
    let draw = learner.draw(0);
    let policy = learner.roles.policy.frozen();
    let rows = rollout::sample(
        &learner.roles,
        Some(&policy),
        tasks,
        &vec![one; tasks.len()],
        draw,
        rollout::EVALUATION,
        &mut |_, _| {},
    )?;
    let n = rows.len() as f64;
    let tokens: usize = rows.iter().map(|row| row.response().len()).sum();
    let finished = rows.iter().filter(|row| row.finished).count();
    let mut metrics = Metrics::from([
        ("eval/response_length".to_string(), tokens as f64 / n),
        ("eval/eos_rate".to_string(), finished as f64 / n),
    ]);
    if !learner.roles.rewards.is_empty() {
        let readings = rollout::readings(&mut learner.roles, &rows)?;
        let scored = learner.roles.rewards.plain_sum(&readings);
        let sum: f64 = scored.total.iter().map(|s| f64::from(*s)).sum();
        metrics.insert("eval/reward".into(), sum / n);
        if scored.means.len() > 1 {
            let named = |(name, mean)| (format!("eval/reward_{name}"), mean);
            metrics.extend(scored.means.into_iter().map(named));
        }
    }
    Ok(metrics)
}

/// Some of the step's rows as Markdown.
fn readable(roles: &Roles, report: &StepReport, step: u64) -> Result<String> {
    let mut text = format!("# Step {step}: rows learnt from\n");
    for (i, row) in report.rows.iter().enumerate().take(8) {
        let prompt = row.task.prompt.ask.text();
        let answer = roles.encoder.decode(row.response())?;
        let n = row.response().len();
        let score = match report.exp.score.get(i) {
            Some(score) => format!("reward {score:.3}, "),
            None => String::new(),
        };
        let end = if row.finished { "ended" } else { "cut off" };
        write!(
            text,
            "\n## {prompt}\n\n{answer}\n\n*{score}{n} tokens, {end}*\n"
        )?;
    }
    Ok(text)
}

fn headline(metrics: &Metrics) -> String {
    let part = |label: &str, name: &str| metrics.get(name).map(|v| format!("{label} {v:.3}"));
    [
        part("loss", "loss/policy").filter(|_| !metrics.contains_key("objective/kl")),
        part("reward", "objective/scores"),
        part("kl", "objective/kl"),
        part("eval", "eval/reward"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("  ")
}

fn save_policy(learner: &Learner, run: &Run, name: &str) -> Result<()> {
    let source = &learner.roles.base.source;
    run.replace_dir(name, |dir| Ok(learner.roles.policy.save(dir, source)?))
}

fn save(learner: &mut Learner, needs: &Needs, dir: &Path) -> Result<()> {
    train::save_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.optimizer.save(&policy)?;
    if let Some(critic) = &learner.critic {
        let file = dir.join("critic_optimizer.safetensors");
        critic.optimizer.save(&file)?;
    }
    for (file, copy) in learner.roles.copies(needs) {
        train::save_params(&copy.trainable()?.vars(), &dir.join(file))?;
    }
    Ok(())
}

fn load(learner: &mut Learner, needs: &Needs, dir: &Path) -> Result<()> {
    train::load_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.resume(&policy)?;
    if let Some(critic) = &mut learner.critic {
        critic.resume(&dir.join("critic_optimizer.safetensors"))?;
    }
    let like = learner.roles.policy.trainable()?;
    for (file, copy) in learner.roles.copies(needs) {
        let stored = like.trainable()?;
        train::load_params(&stored.vars(), &dir.join(file))?;
        *copy = stored.frozen();
    }
    Ok(())
}
