//! Training: opens the run, then hands the objective to the fit loop.

use crate::config::Config;
use crate::objective::Objective;
use crate::prepare::{Opened, Prepared};
use anyhow::Result;
use models::Fetch;
use run::{Curve, Run, RunArgs};
use std::path::Path;

/// Trains into the run directory of `args`, default runs/rm.
///
/// # Errors
/// One line if the data or model cannot be used, the run cannot fit into memory or on the disk, or
/// the numbers become non-finite.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let dir = args.directory("runs/rm")?;
    let device = policy::device(&config.device)?;
    // What can be refused without a pair is refused before any is read, which may take minutes.
    let opened = Opened::new(config, args.resume.then_some(dir.as_path()))?;
    let own = opened.meta.own_settings();
    config.refuse_unused(&own, args.resume)?;
    let used = config.clone().in_use(&own);
    let reopened = args.resume.then(|| {
        let migrate = |old: Config| Ok(old.in_use(&own));
        let run = Run::reopen(&dir, "reward-model", &used, migrate)?;
        train::check_max_steps(&run, &config.train)?;
        policy::check_adapters(&run, opened.meta.adapter_dir().into_iter()).map(|()| run)
    });
    let reopened = reopened.transpose()?;

    let prepared = opened.prepare(config, Fetch::Whole)?;
    let plan = prepared.plan(config, &dir)?;
    plan.report();
    plan.work.require_space()?;
    let Prepared {
        meta,
        keep,
        train,
        eval,
        requests,
        n_shared,
        files,
        ..
    } = prepared;
    let mut policy = meta
        .load(&device, keep)
        .map_err(|e| plan.with_oom_advice(e))?;
    policy.model_mut().checkpoint_layers(plan.layers);
    policy.model_mut().set_compute(config.compute);
    let mut run = match reopened {
        Some(run) => run,
        None => Run::create(&dir, "reward-model", &used)?,
    };
    policy::write_identity(&mut run, &policy.base, &policy.template)?;
    run.record("source", config.model.source.clone().into())?;
    policy::record_data(
        &mut run,
        &files,
        serde_json::json!({ "train_pairs": train.len(), "held_out_pairs": eval.len(), "held_out_in_training": n_shared }),
    )?;
    // The samples that normalise the scores depend on this adapter.
    policy::record_inputs(&mut run, &files, &[&policy.adapter_files])?;
    run.record("memory", plan.memory_json())?;
    let mut objective = Objective::open(config, policy, eval, requests)?;
    let fitted = train::fit(&mut objective, &train, &config.train, &mut run, args.resume)
        .map_err(|e| plan.with_oom_advice(e))?;
    if fitted.finished {
        say_outcome(&dir, config);
    }
    Ok(())
}

fn say_outcome(dir: &Path, config: &Config) {
    let accuracy = Curve {
        baseline: Some(("the longer answer wins", "eval/longer_wins_accuracy")),
        ..Curve::new("held-out accuracy", "eval/accuracy")
    };
    let curves = [Curve::new("held-out loss", "eval/loss"), accuracy];
    let (command, policy, run) = (run::command("rlhf"), &config.model.source, dir.display());
    let base = config.model.base.as_ref();
    let base = base.map_or(String::new(), |base| format!(" --set model.base={base}"));
    let next = format!(
        "{command} --set model.policy={policy}{base} --set model.reward={run} --set data.path=PROMPTS \
         --set algorithm.name=ppo --run runs/ppo"
    );
    run::say_outcome(dir, &curves, "reward", &next);
}
