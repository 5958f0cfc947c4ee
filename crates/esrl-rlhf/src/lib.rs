//! RL and its offline relatives on a LoRA policy: any method of the registry. One frozen base carries policy, reference, reward model and
//! critic; a step is `learner.rs`, the mathematics is in `algorithms`.

mod clauses;
mod cli;
mod config;
mod data;
mod evaluation;
mod explain;
mod failed;
mod feed;
mod forecast;
mod gather;
mod learner;
mod plan;
mod pool;
mod prepare;
mod read;
mod replay;
mod roles;
mod rollout;
mod row;
mod samples_markdown;
mod state;
mod step_timer;
mod trainable;
mod update;
mod value;
pub mod watch;
mod workload;

pub use cli::{Cli, print_plan};
pub use config::Config;
pub use explain::explain;
pub use plan::plan;
pub use replay::{ReplayConfig, replay};

use anyhow::{Result, anyhow, ensure};
use clauses::Clauses;
use evaluation::evaluate;
use forecast::StepForecast;
use learner::{Learner, StepReport};
use models::Fetch;
use planning::memory::Planned;
use prepare::Prepared;
use roles::Roles;
use run::{Progress, Run, RunArgs};
use samples_markdown::headline;
use state::{Best, Ledger, State, load, save, save_policy};
use std::path::{Path, PathBuf};
use train::Frozen;
use trainable::TrainableParams;
use watch::WatchState;

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
    let dir = args.directory("runs/rlhf")?;
    let device = policy::device(&config.device)?;
    let algorithm = config.build_algorithm()?;
    let needs = algorithm.requirements();
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
    let prepared = Prepared::new(config, needs.clone(), Fetch::Whole)?;
    let forecast = StepForecast::of(&prepared.feed, &needs, config);
    let work = prepared.workload(&forecast, config)?;
    let planned = Planned::new(config.memory(), &prepared.meta.base.config, work)?;
    if look.is_none() {
        prepared.disk(config, &dir)?.require()?;
    }
    let Prepared {
        meta,
        keep,
        feed,
        held_out,
        eval_tasks,
        n_shared,
        ..
    } = prepared;
    let policy = meta
        .load(&device, keep)
        .map_err(|e| planned.with_oom_advice(e))?;
    let mut roles = Roles::open(config, &needs, policy)?;
    roles.model_mut().checkpoint_layers(planned.choice.blocks);
    let mut run = if args.resume {
        Run::resume_by(&dir, "esrl-rlhf", config, |old: Config| old.resolved())?
    } else {
        Run::create(&dir, "esrl-rlhf", config)?
    };
    policy::write_identity(&mut run, &roles.base, &roles.template)?;
    run.record("reference", config.model.policy.clone().into())?;
    if let Some(reward) = &config.model.reward {
        run.record("reward", reward.to_string_lossy().into())?;
    }
    run.record("memory", planned.choice.json())?;
    run.record("algorithm", serde_json::to_value(&config.algorithm)?)?;
    policy::record_data(
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
    let policy = TrainableParams::new(roles.policy.vars(), &t.policy)?;
    let critic = roles
        .critic
        .as_ref()
        .map(|c| TrainableParams::new(c.params(), &t.critic))
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
        let metrics = evaluate(&mut learner, &eval_tasks)
            .map_err(|e| failed_step(0, planned.with_oom_advice(e), &run))?;
        run.log(0, &metrics)?;
    }
    while step < t.steps as u64 {
        let mut report = learner
            .step(step, &run)
            .map_err(|e| failed_step(step + 1, planned.with_oom_advice(e), &run))?;
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
            let metrics =
                metrics.map_err(|e| failed_step(step, planned.with_oom_advice(e), &run))?;
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
            run.sample(
                step,
                &samples_markdown::rows(&learner.roles, &report, step)?,
            )?;
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
                .map_err(|e| failed_step(step, planned.with_oom_advice(e), &run))?;
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
    let (_, adapter) = policy::run_and_adapter(Path::new(&config.model.policy));
    let adapter = Some(adapter).filter(|dir| dir.is_dir());
    let reward = config.model.reward.as_ref().map(|dir| dir.join("reward"));
    let inputs = [config.data.eval_path.clone(), adapter, reward];
    let inputs: Vec<&Path> = inputs.iter().flatten().map(PathBuf::as_path).collect();
    policy::record_inputs(run, &inputs)
}

/// How often each health watch began to warn.
fn record_warnings(run: &mut Run, watch: &WatchState) -> Result<()> {
    run.record("warnings", serde_json::to_value(&watch.warnings)?)
}

/// The error of a step that cannot be taken: which, why, and where to go back to.
fn failed_step(step: u64, why: anyhow::Error, run: &Run) -> anyhow::Error {
    let kept = run.last_good();
    let hint = match why.downcast_ref() {
        Some(rewards::Error::External(_)) => "; once it answers, go on with --resume",
        _ => "",
    };
    anyhow!("step {step}: {}; {kept}{hint}", run::one_line(&why))
}
