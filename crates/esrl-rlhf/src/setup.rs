//! Opens an RL run: data, models, rewards and the run directory, and for a resumed run its last
//! checkpoint. It ends where the first step begins.

use crate::checkpoint::{self, BestEvaluation, LoopState, RunTotals};
use crate::clauses::Clauses;
use crate::config::{Config, TrainConfig};
use crate::data::Task;
use crate::inputs::Opened;
use crate::learner::Learner;
use crate::logp_source::LogpSource;
use crate::roles::Roles;
use crate::trainable::TrainableParams;
use crate::watch::WatchState;
use ::data::{DataFiles, Prompt};
use algorithms::{DataSource, Requirements};
use anyhow::{Result, ensure};
use models::Fetch;
use planning::Plan;
use policy::PolicyMeta;
use run::{Run, RunArgs};
use std::path::Path;
use std::rc::Rc;
use train::{Frozen, NewLength};

/// An open run: what learns, where it writes, and how far it has got.
pub(crate) struct Session<'a> {
    pub learner: Learner<'a>,
    pub run: Run,
    pub plan: Plan,
    pub eval_tasks: Vec<Rc<Task>>,
    /// Steps taken
    pub step: u64,
    pub totals: RunTotals,
    pub best: Option<BestEvaluation>,
}

/// Opens the run that `args` name. `config`: resolved. A replay (`for_replay`) writes nothing new,
/// so it needs no disk space.
pub(crate) fn open<'a>(
    args: &RunArgs,
    config: &'a Config,
    for_replay: bool,
) -> Result<Session<'a>> {
    let dir = args.directory("runs/rlhf")?;
    let device = policy::device(&config.device)?;
    let algorithm = config.build_algorithm()?;
    let needs = algorithm.requirements();
    check_reward_run(config)?;
    let clauses = open_clauses(&needs, config)?;

    // What can be refused without a row is refused before any is read, which may take minutes.
    let resumed = args.resume.then_some(dir.as_path());
    let opened = Opened::new(config, needs.clone(), resumed)?;
    let own = opened.meta.own_settings();
    config.refuse_unused(&own, args.resume)?;
    let used = config.clone().in_use(&own);
    let reopened = args
        .resume
        .then(|| reopen(&dir, &opened.meta, config, &used));
    let reopened = reopened.transpose()?;

    // Then data and sizes: what cannot fit is refused before a weight is read.
    let inputs = opened.read(config, Fetch::Whole)?;
    let counts = inputs.counts();
    let plan = inputs.plan(config, &dir)?;
    plan.report();
    if !for_replay {
        plan.work.require_space()?;
    }

    let policy = inputs.meta.load(&device, inputs.keep);
    let policy = policy.map_err(|e| plan.with_oom_advice(e))?;
    let mut roles = Roles::open(config, &needs, policy)?;
    roles.model_mut().checkpoint_layers(plan.layers);
    roles.model_mut().set_compute(config.compute);

    let mut run = match reopened {
        Some(run) => run,
        None => Run::create(&dir, "esrl-rlhf", &used)?,
    };
    policy::write_identity(&mut run, &roles.base, &roles.template)?;
    record_settings(&mut run, config, &plan)?;
    policy::record_data(&mut run, &inputs.files, counts)?;
    record_inputs(&mut run, &roles, &inputs.files, &inputs.held_out)?;

    let critic = roles.critic.as_ref();
    let critic = critic.map(|c| TrainableParams::new(c.params(), &config.train.critic));
    let separate = roles.samples_from_separate_weights();
    let learner = Learner {
        config,
        algorithm,
        logp_source: LogpSource::decide(&config.rollout, &needs, separate),
        needs,
        source: inputs.source,
        clauses,
        // The adapter's `Var`s share storage with the optimiser's: its steps change the policy.
        policy: TrainableParams::new(roles.policy.vars(), &config.train.policy)?,
        critic: critic.transpose()?,
        watch: WatchState::default(),
        rules: run.rules(),
        frozen: Frozen::new(&roles.frozen_tensors())?,
        roles,
    };
    let mut session = Session {
        learner,
        run,
        plan,
        eval_tasks: inputs.eval_tasks,
        step: 0,
        totals: RunTotals::default(),
        best: None,
    };
    if args.resume {
        session.resume()?;
    }
    record_warnings(&mut session.run, &session.learner.watch)?;
    Ok(session)
}

fn open_clauses(needs: &Requirements, config: &Config) -> Result<Option<Clauses>> {
    let open = || Clauses::open(&config.rollout.clauses);
    needs.clauses.then(open).transpose()
}

/// Records the models that were read, and the prompts held out.
fn record_inputs(
    run: &mut Run,
    roles: &Roles,
    files: &DataFiles,
    held_out: &[Prompt],
) -> Result<()> {
    let models: Vec<_> = roles.files.iter().collect();
    policy::record_inputs(run, files, &models)?;
    let held_out = serde_json::to_string_pretty(held_out)?;
    run.write_file("heldout.json", held_out.as_bytes())
}

/// The run in `dir`, to be continued with the settings `used`.
fn reopen(dir: &Path, meta: &PolicyMeta, config: &Config, used: &Config) -> Result<Run> {
    let own = meta.own_settings();
    let migrate = |old: Config| Ok(old.resolved()?.in_use(&own));
    let run = Run::reopen(dir, "esrl-rlhf", used, migrate)?;
    new_length(&run, config)?;
    let reward = config.model.reward.as_ref().map(|dir| dir.join("reward"));
    let adapters = meta.adapter_dir().into_iter();
    policy::check_adapters(&run, adapters.chain(reward.as_deref()))?;
    Ok(run)
}

impl Session<'_> {
    /// Loads the last checkpoint; then nothing refuses the command any more, and the run begins.
    fn resume(&mut self) -> Result<()> {
        self.load_last_checkpoint()?;
        let length = self.changed_length()?;
        self.run.begin()?;
        if let Some((length, jumps)) = length {
            length.report(&jumps);
        }
        self.run.prune(self.learner.config.train.keep())
    }

    /// Continues from the last complete checkpoint; without one the run starts over.
    fn load_last_checkpoint(&mut self) -> Result<()> {
        let Some(checkpoint) = self.run.latest_checkpoint()? else {
            return Ok(());
        };
        let state: LoopState = self.run.read_state(&checkpoint)?;
        let learner = &mut self.learner;
        checkpoint::load(learner, &checkpoint.dir)?;
        learner.algorithm.restore(&state.algorithm)?;
        learner.roles.rewards.restore(&state.rewards)?;
        learner.source.seek(state.cursor, learner.config);
        learner.watch = state.watch;
        (self.step, self.totals, self.best) = (state.step, state.totals, state.best);
        Ok(())
    }

    /// The length of a resumed run beside the one it had, and the jumps of its learning rates, to
    /// be said once the run has begun.
    fn changed_length(&self) -> Result<Option<(NewLength, Vec<String>)>> {
        let Some((old, length)) = new_length(&self.run, self.learner.config)? else {
            return Ok(None);
        };
        let (learner, new) = (&self.learner, &self.learner.config.train);
        let policy = |t: &TrainConfig, step: usize| {
            t.policy_lr(step as u64, learner.algorithm.as_ref(), learner.rules)
        };
        let critic = |t: &TrainConfig, step| t.critic.lr_at(step, t.steps, learner.rules);
        let mut jumps = Vec::from_iter(length.jump(
            "the policy's learning rate goes",
            [&|step| policy(&old, step), &|step| policy(new, step)],
        ));
        if learner.critic.is_some() {
            let what = match jumps.is_empty() {
                true => "the critic's learning rate goes",
                false => "the critic's",
            };
            jumps.extend(length.jump(
                what,
                [&|step| critic(&old, step), &|step| critic(new, step)],
            ));
        }
        Ok(Some((length, jumps)))
    }
}

/// The settings of training that a resumed run had, and its length beside the one it had.
///
/// Errors: it has that many steps already.
fn new_length(run: &Run, config: &Config) -> Result<Option<(TrainConfig, NewLength)>> {
    let Some(old) = run.settings_before::<TrainConfig>("train") else {
        return Ok(None);
    };
    let length = NewLength {
        key: "train.steps",
        done: run.latest_checkpoint()?.map_or(0, |c| c.step as usize),
        before: old.steps,
        now: config.train.steps,
    };
    length.check()?;
    Ok(Some((old, length)))
}

fn check_reward_run(config: &Config) -> Result<()> {
    if let Some(dir) = &config.model.reward {
        ensure!(
            dir.join("reward").is_dir(),
            "{}/reward does not exist; model.reward must be a reward-model run that has saved its model",
            dir.display()
        );
    }
    Ok(())
}

fn record_settings(run: &mut Run, config: &Config, plan: &Plan) -> Result<()> {
    run.record("reference", config.model.policy.clone().into())?;
    if let Some(reward) = &config.model.reward {
        run.record("reward", reward.to_string_lossy().into())?;
    }
    note_reward(run, config)?;
    note_temperature(run, config)?;
    run.record("memory", plan.memory_json())?;
    run.record("algorithm", serde_json::to_value(&config.algorithm)?)
}

/// Says where the reward model is the critic's start and scores nothing.
fn note_reward(run: &mut Run, config: &Config) -> Result<()> {
    match &config.model.reward {
        Some(_) if !config.scores_with_model() && config.critic_starts_from_reward()? => run.note(
            "reward",
            "the critic starts from model.reward, which scores nothing: [[rewards]] has no source \
             of kind \"model\"",
        ),
        _ => Ok(()),
    }
}

/// Says where responses are drawn at another temperature than they are learnt from at.
fn note_temperature(run: &mut Run, config: &Config) -> Result<()> {
    let needs = config.build_algorithm()?.requirements();
    let drawn_at = config.rollout.temperature;
    let drawn = needs.source == DataSource::Rollouts && drawn_at != 1.0;
    if drawn && !needs.at_sampling_temperature {
        let text = format!(
            "responses are drawn at rollout.temperature = {drawn_at}, and this algorithm learns \
             from them at temperature 1"
        );
        run.note("temperature", &text)?;
    }
    Ok(())
}

/// Records how often each health watch began to warn.
pub(crate) fn record_warnings(run: &mut Run, watch: &WatchState) -> Result<()> {
    run.record("warnings", serde_json::to_value(&watch.warnings)?)
}
