//! Training: opens the run, then hands the objective to the fit loop.

use crate::config::{Config, Method, template_is_given};
use crate::objective::{Objective, TrainingRows};
use crate::prepare::{Loaded, Opened};
use anyhow::Result;
use models::Fetch;
use run::{Curve, Run, RunArgs};
use std::path::Path;

/// Trains into the run directory of `args`, default runs/sft.
///
/// # Errors
/// One line if the data or model cannot be used, the run cannot fit into memory or on the disk, or
/// the numbers become non-finite.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let device = policy::device(&config.device)?;
    let dir = args.directory("runs/sft")?;
    // What can be refused without a row is refused before any is read, which may take minutes.
    let opened = Opened::new(config, args.resume.then_some(dir.as_path()))?;
    let given = args.resume || template_is_given(args.config.as_deref(), &args.sets)?;
    opened.report_template(given);
    let own = opened.meta.own_settings();
    config.refuse_unused(&own, args.resume)?;
    let used = config.clone().in_use(&own);
    let reopened = args.resume.then(|| {
        let migrate = |old: Config| Ok(old.in_use(&own));
        let run = Run::reopen(&dir, "sft", &used, migrate)?;
        train::check_max_steps(&run, &config.train).map(|()| run)
    });
    let reopened = reopened.transpose()?;

    let prepared = opened.prepare(config, Fetch::Whole)?;
    let plan = prepared.plan(config, &dir)?;
    plan.report();
    plan.work.require_space()?;
    let Loaded {
        mut start,
        train,
        eval,
        prompts,
        n_shared,
        files,
    } = prepared
        .load(config, &device)
        .map_err(|e| plan.with_oom_advice(e))?;
    start.base.model.checkpoint_layers(plan.layers);
    start.base.model.set_compute(config.compute);
    let mut run = match reopened {
        Some(run) => run,
        None => Run::create(&dir, "sft", &used)?,
    };
    policy::write_identity(&mut run, &start.base, &start.template)?;
    let source = match &config.model.random {
        Some(shape) => format!("random weights of the shape of {}", shape.display()),
        None => config.model.source.clone(),
    };
    run.record("source", source.into())?;
    policy::record_data(
        &mut run,
        &files,
        serde_json::json!({ "train_rows": train.len(), "held_out_rows": eval.len(), "held_out_in_training": n_shared }),
    )?;
    policy::record_inputs(&mut run, &files, &[])?;
    run.record("memory", plan.memory_json())?;
    let mut objective = Objective::new(start, config, eval, prompts)?;
    run.record("parameters", objective.parameter_counts())?;
    let fitted = train::fit(
        &mut objective,
        &TrainingRows(train),
        &config.train,
        &mut run,
        args.resume,
    )
    .map_err(|e| plan.with_oom_advice(e))?;
    if fitted.finished {
        say_outcome(&dir, config);
    }
    Ok(())
}

fn say_outcome(dir: &Path, config: &Config) {
    let curves = [
        Curve::new("training loss", "train/loss"),
        Curve::new("held-out loss", "eval/loss"),
    ];
    let result = match config.method {
        Method::Lora => "adapter",
        Method::Full => "model",
    };
    let (command, run) = (run::command("rm"), dir.display());
    let next = format!("{command} --set model.source={run} --set data.path=PAIRS --run runs/rm");
    run::say_outcome(dir, &curves, result, &next);
}
