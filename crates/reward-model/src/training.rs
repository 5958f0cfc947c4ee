//! Training: opens the run, samples for the normalisation, then hands the objective to the fit
//! loop.

use crate::config::Config;
use crate::objective::Objective;
use crate::prepare::Prepared;
use anyhow::Result;
use generation::{Engine, Request};
use models::Fetch;
use policy::Policy;
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
    let prepared = Prepared::new(config, Fetch::Whole, args.resume.then_some(dir.as_path()))?;
    let own = prepared.meta.own_settings();
    config.refuse_unused(&own, args.resume)?;
    let used = config.clone().in_use(&own);
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
    let mut run = if args.resume {
        let migrate = |old: Config| Ok(old.in_use(&own));
        Run::reopen(&dir, "reward-model", &used, migrate)?
    } else {
        Run::create(&dir, "reward-model", &used)?
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
    let samples = samples(&policy, &requests, config)?;
    let mut objective = Objective::open(config, policy, eval, samples)?;
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
    let next = format!(
        "{command} --set model.policy={policy} --set model.reward={run} --set data.path=PROMPTS \
         --set algorithm.name=ppo --run runs/ppo"
    );
    run::say_outcome(dir, &curves, "reward", &next);
}

/// The source policy's answers, each after its prompt.
fn samples(policy: &Policy, requests: &[Request], config: &Config) -> Result<Vec<Vec<u32>>> {
    let stop = &policy.encoder.ends().stop;
    let engine = Engine {
        model: policy.model(),
        lora: policy.adapter.as_ref(),
        stop,
        max_rows: config.reward.max_rows,
        keep_states: false,
    };
    let mut progress = run::Progress::new(
        "samples for normalisation",
        requests.iter().map(|r| r.n as u64).sum(),
    );
    let mut tokens_before = 0;
    let drawn = engine.run(requests, &mut |tokens, finished| {
        progress.update(finished as u64, (tokens - tokens_before) as u64, "");
        tokens_before = tokens;
    })?;
    progress.finish("");
    let context = policy.model().config.max_position_embeddings;
    let row = |sample: generation::Sample| {
        let prompt = &requests[sample.request].prompt;
        let ids = [prompt.as_slice(), &sample.ids].concat();
        policy.encoder.ended_as_trained(&ids, prompt.len(), context)
    };
    Ok(drawn.into_iter().map(row).collect())
}
