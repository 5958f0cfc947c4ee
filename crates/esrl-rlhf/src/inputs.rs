//! What a run starts from before a weight is read: the policy's metadata, with every check that
//! needs no row, and then the encoded rows. A run and its plan both begin here.

use crate::config::{Config, CriticInit};
use crate::data::{self, Data, Task};
use crate::evaluation::tasks_for_evaluation;
use crate::row_source::RowSource;
use ::data::{DataFiles, Prompt};
use algorithms::Requirements;
use anyhow::{Context, Result, ensure};
use models::{Fetch, LoraConfig, WeightStorage, WeightsMeta};
use policy::{DeviceChoice, PolicyMeta, PolicyText, TemplateChoice};
use rewards::RewardModel;
use run::SavedRun;
use std::path::Path;
use std::rc::Rc;

/// The policy that a run starts from, before any row is read.
pub(crate) struct Opened {
    needs: Requirements,
    pub meta: PolicyMeta,
    keep: WeightStorage,
    lora: LoraConfig,
    /// See [`RunInputs`]
    reward: Option<LoraConfig>,
    reward_is_here: bool,
    /// As [`::data::ReadOptions::drops_tools`]
    drops_tools: bool,
}

/// Data and sizes of a run.
pub(crate) struct RunInputs {
    pub needs: Requirements,
    pub meta: PolicyMeta,
    /// How the base's matrices are stored
    pub keep: WeightStorage,
    /// Their sizes when stored so
    pub weights: WeightsMeta,
    /// The policy's adapter
    pub lora: LoraConfig,
    /// The reward model's adapter, or the policy's where the reward model's run does not exist yet
    pub reward: Option<LoraConfig>,
    pub reward_is_here: bool,
    pub source: RowSource,
    pub held_out: Vec<Prompt>,
    pub eval_tasks: Vec<Rc<Task>>,
    /// Held-out prompts that are also training prompts
    pub n_shared: usize,
    pub files: DataFiles,
}

impl Opened {
    /// Opens the policy without its weights. `config`: resolved. `resumed`: the run that is
    /// continued.
    pub fn new(config: &Config, needs: Requirements, resumed: Option<&Path>) -> Result<Self> {
        let template = TemplateChoice::parse(&config.model.template)?;
        let model = &config.model;
        let start = PolicyText {
            text: &model.policy,
            base: model.base.as_deref(),
            resumed,
        };
        let meta = PolicyMeta::open(start, template, model.weights, Fetch::Shape)?;
        let meta = meta.at(model.template_date.as_deref(), resumed)?;
        if let Some(dir) = &model.reward {
            check_reward(dir, &meta)?;
        }
        let keep = WeightStorage::of(DeviceChoice::parse(&config.device)?.is_cpu(), false);
        let lora = meta.lora_or(&config.lora)?;
        data::prompt_room(&meta, config)?;
        let of_reward = |dir: &Path| LoraConfig::of_adapter(&dir.join("reward")).ok();
        let reward = config.model.reward.as_deref();
        let found = reward.and_then(of_reward);
        Ok(Self {
            reward_is_here: reward.is_none() || found.is_some(),
            reward: reward.map(|_| found.unwrap_or_else(|| lora.clone())),
            drops_tools: run::began_before(resumed, run::Rules::Tools)?,
            needs,
            keep,
            meta,
            lora,
        })
    }

    /// Reads and encodes the data. `fetch`: how much of a hub model to fetch.
    pub fn read(self, config: &Config, fetch: Fetch) -> Result<RunInputs> {
        let Self {
            needs,
            mut meta,
            keep,
            lora,
            reward,
            reward_is_here,
            drops_tools,
        } = self;
        let Data {
            train,
            held_out,
            n_shared,
            files,
        } = Data::read(config, &needs, &meta, drops_tools)?;
        if fetch == Fetch::Whole {
            meta.fetch_weights()?;
        }
        let source = RowSource::new(train, &needs, &meta.encoder, config)?;
        let eval_tasks = tasks_for_evaluation(&held_out, &meta, config)?;
        Ok(RunInputs {
            needs,
            weights: meta.base.weights(keep)?,
            keep,
            meta,
            lora,
            reward,
            reward_is_here,
            source,
            held_out,
            eval_tasks,
            n_shared,
            files,
        })
    }
}

impl RunInputs {
    /// Numbers of rows, for run.json.
    pub fn counts(&self) -> serde_json::Value {
        serde_json::json!({
            "rows": self.source.n_rows(),
            "held_out_prompts": self.eval_tasks.len(),
            "held_out_in_training": self.n_shared,
        })
    }

    /// The critic's adapter, where there is a critic.
    pub fn critic(&self, config: &Config) -> Option<&LoraConfig> {
        let of_reward = self.reward.as_ref();
        let lora = match config.train.critic_init {
            CriticInit::Reward => of_reward.unwrap_or(&self.lora),
            CriticInit::Zero => &self.lora,
        };
        self.needs.critic.then_some(lora)
    }
}

/// Fails if the reward model was trained on other numbers of the base than the policy's, or under
/// another template. In a plan its run may not exist yet.
fn check_reward(dir: &Path, policy: &PolicyMeta) -> Result<()> {
    if let Some(run) = run::open_saved_run(dir)? {
        check_format(dir, &run, policy)?;
    }
    let artefact = dir.join("reward");
    if !artefact.is_dir() {
        return Ok(());
    }
    let template = RewardModel::template_of(&artefact, policy.recorded_fingerprint())
        .with_context(|| format!("reward model {}", dir.display()))?;
    ensure!(
        policy::same_but_date(&template, &policy.template),
        "the reward model {} was trained under another prompt template than the policy {}; train it from the run or model the policy comes from",
        dir.display(),
        policy.source_text(),
    );
    if let (Some(trained), Some(now)) = (template.date(), policy.template.date())
        && trained != now
    {
        run::say!(
            "the reward model {} was trained on prompts of the date {trained}; this run's have {now}",
            dir.display()
        );
    }
    Ok(())
}

fn check_format(dir: &Path, run: &SavedRun, policy: &PolicyMeta) -> Result<()> {
    let (trained_on, kept) = (policy::base_weights(&run.info)?, policy.base.projections);
    ensure!(
        trained_on == kept,
        "the reward model {} was trained on its base in \"{}\", and {} is kept in \"{}\"; train it with the same model.weights",
        dir.display(),
        trained_on.name(),
        policy.source,
        kept.name()
    );
    Ok(())
}
