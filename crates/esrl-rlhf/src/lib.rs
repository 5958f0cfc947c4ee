//! RL from a reward model: ESRL or PPO on a LoRA policy. One frozen base carries policy, reference, reward model and
//! critic; a step is `learner.rs`, the mathematics is in `algorithms`.

mod config;
mod learner;
mod roles;
mod rollout;

pub use config::Config;

use algorithms::SamplingPlan;
use anyhow::{Context, Result, anyhow, bail};
use data::{Cursor, Loader, Prompt};
use learner::{Learner, Metrics, StepReport, Trainee};
use roles::Roles;
use rollout::Task;
use run::{Progress, Run, RunArgs};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

/// What a checkpoint holds beside tensors. Random streams are keyed by step, so they need no state.
#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    cursor: Cursor,
    algorithm: serde_json::Value,
    ledger: Ledger,
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
    let line = |e: &algorithms::Entry| format!("{:8} {} ({})\n", e.name, e.about, e.paper);
    algorithms::registry().iter().map(line).collect()
}

/// Trains a policy into `args.run`.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
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
    let (prompts, held_out) = read_prompts(config)?;
    if needs.metric.is_some() && prompts.iter().any(|p| p.reference.is_none()) {
        bail!(
            "{}: this algorithm compares with reference answers, and some rows have none",
            config.data.path.display()
        );
    }
    let roles = Roles::open(config, needs.critic, &device)?;
    let tasks = tasks("training", prompts, &roles, config)?;
    let eval_tasks = tasks_for_evaluation(held_out.clone(), &roles, config)?;
    if tasks.is_empty() {
        bail!(
            "{}: no prompt is left to train on; raise data.max_prompt_len or lower rollout.max_new_tokens",
            config.data.path.display()
        );
    }

    let mut run = if args.resume {
        Run::resume(&dir, "esrl-rlhf", config)?
    } else {
        Run::create(&dir, "esrl-rlhf", config)?
    };
    stage::write_identity(&mut run, &roles.base, &roles.template)?;
    run.record("reference", config.model.policy.clone().into())?;
    run.record("reward", config.model.reward.to_string_lossy().into())?;
    run.record("algorithm", serde_json::to_value(&config.algorithm)?)?;
    stage::record_data(
        &mut run,
        &config.data.path,
        serde_json::json!({ "prompts": tasks.len(), "held_out_prompts": eval_tasks.len() }),
    )?;
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
    let mut learner = Learner {
        config,
        roles,
        algorithm,
        policy,
        critic,
    };
    let (mut step, mut cursor, mut ledger) = (0, Cursor::default(), Ledger::default());
    if let Some(checkpoint) = args
        .resume
        .then(|| run.latest_checkpoint())
        .transpose()?
        .flatten()
    {
        let state: State = run.read_state(&checkpoint)?;
        load(&mut learner, &checkpoint.dir)?;
        learner.algorithm.restore(&state.algorithm)?;
        (step, cursor, ledger) = (state.step, state.cursor, state.ledger);
    }
    let mut loader = Loader::new(tasks.len(), config.rollout.prompts, t.seed, cursor);
    let mut progress = Progress::starting_at("rlhf", t.steps as u64, step);
    if step == 0 {
        let metrics = evaluate(&learner, &eval_tasks)?;
        run.log(0, &metrics)?;
    }
    while step < t.steps as u64 {
        let batch: Vec<&Task> = loader.next_batch().into_iter().map(|i| &tasks[i]).collect();
        let mut report = learner
            .step(step, &batch, &mut |_| {})
            .map_err(|e| failed_step(step + 1, e, &run))?;
        ledger.add(&report);
        step += 1;
        let last = step == t.steps as u64;
        let stopping = run::stop_requested();
        let due = |every: usize| step.is_multiple_of(every as u64) || last;
        if due(t.eval_every) && (last || !stopping) {
            report.metrics.extend(evaluate(&learner, &eval_tasks)?);
        }
        run.log(step, &report.metrics)?;
        if due(t.sample_every) {
            run.sample(step, &readable(&learner.roles, &batch, &report, step)?)?;
        }
        if due(t.save_every) || stopping {
            let state = State {
                step,
                cursor: loader.cursor(),
                algorithm: learner.algorithm.state(),
                ledger: ledger.clone(),
            };
            learner
                .check_update(&report.rows[0])
                .map_err(|e| failed_step(step, e, &run))?;
            let source = &learner.roles.base.source;
            // Before the checkpoint: a run that ends between the two does this step again.
            run.replace_dir("adapter", |dir| {
                Ok(learner.roles.policy.save(dir, source)?)
            })?;
            run.checkpoint(step, t.keep_checkpoints, &state, |dir| save(&learner, dir))?;
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
    run.finish(&summary)
}

/// The error of a step that cannot be taken: which, why, and where to go back to.
fn failed_step(step: u64, why: anyhow::Error, run: &Run) -> anyhow::Error {
    let kept = match run.latest_checkpoint() {
        Ok(Some(checkpoint)) => format!("the last good checkpoint is {}", checkpoint.dir.display()),
        _ => "no checkpoint was written yet".to_string(),
    };
    anyhow!("step {step}: {}; {kept}", run::one_line(&why))
}

fn read_prompts(config: &Config) -> Result<(Vec<Prompt>, Vec<Prompt>)> {
    let d = &config.data;
    let read = |path: &Path| -> Result<Vec<Prompt>> {
        let mut loaded = data::prompts(path, d.format)?;
        loaded.report(path);
        loaded.items.truncate(d.max_rows.unwrap_or(usize::MAX));
        Ok(loaded.items)
    };
    let prompts = read(&d.path)?;
    Ok(match &d.eval_path {
        Some(path) => (prompts, read(path)?),
        None => data::split_by_key(prompts, |p| p.key(), d.held_out, config.train.seed),
    })
}

/// Encoded prompts; those that leave no room for a response are left out, and counted.
fn tasks(what: &str, prompts: Vec<Prompt>, roles: &Roles, config: &Config) -> Result<Vec<Task>> {
    let context = roles.model().config.max_position_embeddings;
    let room = context
        .checked_sub(config.rollout.max_new_tokens)
        .with_context(|| {
            format!(
                "rollout.max_new_tokens = {} is more than the model's context of {context}",
                config.rollout.max_new_tokens
            )
        })?;
    let limit = room.min(config.data.max_prompt_len);
    let n_prompts = prompts.len();
    let mut tasks = Vec::with_capacity(n_prompts);
    for prompt in prompts {
        let ids = roles.encoder.prompt(&prompt)?;
        if ids.len() <= limit {
            tasks.push(Task {
                key: prompt.key(),
                ids,
                prompt,
            });
        }
    }
    if tasks.len() < n_prompts {
        eprintln!(
            "{what} prompts: {} of {n_prompts} are longer than {limit} tokens and left out",
            n_prompts - tasks.len()
        );
    }
    Ok(tasks)
}

fn tasks_for_evaluation(
    mut prompts: Vec<Prompt>,
    roles: &Roles,
    config: &Config,
) -> Result<Vec<Task>> {
    prompts.truncate(config.train.eval_prompts);
    tasks("held-out", prompts, roles, config)
}

/// One sampled answer per held-out prompt: mean normalised reward, length, share that ends.
fn evaluate(learner: &Learner, tasks: &[Task]) -> Result<Metrics> {
    if tasks.is_empty() {
        return Ok(Metrics::new());
    }
    let tasks: Vec<&Task> = tasks.iter().collect();
    let plan = vec![
        SamplingPlan {
            n: 1,
            temperature: None
        };
        tasks.len()
    ];
    // The same random numbers at every evaluation, so that curves differ by the policy alone.
    let draw = learner.draw(0);
    let rows = rollout::sample(
        &learner.roles,
        &tasks,
        &plan,
        draw,
        rollout::EVALUATION,
        &mut |_, _| {},
    )?;
    let scores = rollout::reward(&learner.roles, &rows)?;
    let n = rows.len() as f64;
    let tokens: usize = rows.iter().map(|r| r.sample.ids.len()).sum();
    let finished = rows
        .iter()
        .filter(|r| r.sample.finish == generation::Finish::Stop)
        .count();
    Ok(Metrics::from([
        (
            "eval/reward".to_string(),
            scores.iter().map(|s| *s as f64).sum::<f64>() / n,
        ),
        ("eval/response_length".to_string(), tokens as f64 / n),
        ("eval/eos_rate".to_string(), finished as f64 / n),
    ]))
}

/// Some of the step's rollouts as Markdown.
fn readable(roles: &Roles, batch: &[&Task], report: &StepReport, step: u64) -> Result<String> {
    let mut text = format!("# Step {step}: rollouts\n");
    for (row, score) in report.rows.iter().zip(&report.scores).take(8) {
        let prompt = batch[row.task].prompt.ask.text();
        let answer = roles.encoder.decode(&row.sample.ids)?;
        let n = row.sample.ids.len();
        write!(
            text,
            "\n## {prompt}\n\n{answer}\n\n*reward {score:.3}, {n} tokens, {:?}*\n",
            row.sample.finish
        )?;
    }
    Ok(text)
}

fn headline(metrics: &Metrics) -> String {
    let part = |label: &str, name: &str| metrics.get(name).map(|v| format!("{label} {v:.3}"));
    [
        part("reward", "objective/scores"),
        part("kl", "objective/kl"),
        part("eval", "eval/reward"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("  ")
}

fn save(learner: &Learner, dir: &Path) -> Result<()> {
    train::save_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.optimizer.save(&policy)?;
    if let Some(critic) = &learner.critic {
        let file = dir.join("critic_optimizer.safetensors");
        critic.optimizer.save(&file)?;
    }
    Ok(())
}

fn load(learner: &mut Learner, dir: &Path) -> Result<()> {
    train::load_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.resume(&policy)?;
    if let Some(critic) = &mut learner.critic {
        critic.resume(&dir.join("critic_optimizer.safetensors"))?;
    }
    Ok(())
}
