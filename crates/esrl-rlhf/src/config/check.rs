//! Refuses settings that cannot work, before anything is read.

use super::{Config, CriticInit, RolloutConfig, TrainConfig, learns_from_scores};
use algorithms::{DataSource, PoolRequirements};
use anyhow::{Result, bail, ensure};
use models::SamplingWeights;

impl Config {
    /// An error, in one line, for the first value that cannot work.
    pub fn check(&self) -> Result<()> {
        let (r, t) = (&self.rollout, &self.train);
        policy::TemplateChoice::parse(&self.model.template)?;
        policy::check_template_date(self.model.template_date.as_deref())?;
        policy::DeviceChoice::parse(&self.device)?;
        policy::check_compute(self.compute, &self.device)?;
        self.check_algorithm()?;
        rewards::check(&self.rewards)?;
        self.data.selection().check()?;
        data::check_rows(self.data.held_out, self.data.max_rows)?;
        r.check()?;
        self.check_sampling_weights()?;
        ensure!(
            r.importance_cap >= 1.0,
            "rollout.importance_cap = {} must be at least 1",
            r.importance_cap
        );
        t.check_sizes()?;
        planning::check_limits(self.train.memory_gb, self.train.checkpoint_blocks)?;
        r.clauses.check()?;
        self.watch.check()?;
        t.policy.check("train.policy")?;
        t.critic.check("train.critic")
    }

    /// The algorithm's keys, and that what it needs is there.
    fn check_algorithm(&self) -> Result<()> {
        let needs = self.build_algorithm()?.requirements();
        let scores = learns_from_scores(&needs);
        ensure!(
            !self.sources().is_empty() || !scores,
            "model.reward is missing: this algorithm learns from scores; name a reward-model run, or give [[rewards]]"
        );
        ensure!(
            self.model.reward.is_some() || !rewards::needs_model(&self.rewards),
            "model.reward is missing: [[rewards]] has a source of kind \"model\"; name a reward-model run"
        );
        let from_reward = needs.critic && self.train.critic_init == CriticInit::Reward;
        ensure!(
            self.model.reward.is_some() || !from_reward,
            "train.critic_init = \"reward\", and there is no model.reward; set it to \"zero\""
        );
        match &needs.source {
            DataSource::Pool(pool) => self.check_pool(pool),
            DataSource::Rollouts | DataSource::Pairs => Ok(()),
        }
    }

    /// That stored responses count once each, and are not scored by comparison with themselves.
    fn check_pool(&self, pool: &PoolRequirements) -> Result<()> {
        let sources = &self.data.sources;
        if let Some(at) = sources.iter().position(|source| source.weight != 1.0) {
            bail!(
                "data.sources[{at}].weight = {}: this algorithm draws from stored responses, of which \
                 each counts once; leave the weight out",
                sources[at].weight
            );
        }
        let keeps_data = pool.grow.as_ref().is_none_or(|grow| grow.keep_data);
        ensure!(
            !(pool.score && keeps_data && rewards::needs_reference(&self.rewards)),
            "the rewards compare with the data's own answers, and those are what this algorithm learns from: each would be \
             its own reference and get the top score; use a method that samples, or rest with keep_data = false"
        );
        Ok(())
    }

    /// That rollouts sampled from other weights than those that train can be corrected.
    fn check_sampling_weights(&self) -> Result<()> {
        let r = &self.rollout;
        if r.weights == SamplingWeights::Same {
            return Ok(());
        }
        ensure!(
            r.rescore != Some(false),
            "rollout.rescore = false uses the sampler's log-probs as the policy's, but rollout.weights makes them differ; leave one of them out"
        );
        ensure!(
            self.device == "cpu",
            "rollout.weights works on the CPU, and device = \"{}\"; leave one of them out",
            self.device
        );
        let needs = self.build_algorithm()?.requirements();
        ensure!(
            needs.source == DataSource::Rollouts,
            "rollout.weights is for methods that sample at each step, and this one learns from stored answers; leave it out"
        );
        ensure!(
            needs.at_sampling_temperature,
            "rollout.weights is corrected by log-probs at the sampling temperature, which algorithm.loss_temperature = false does not read; set it to true, or leave rollout.weights out"
        );
        Ok(())
    }
}

impl RolloutConfig {
    fn check(&self) -> Result<()> {
        ensure!(
            self.prompts > 0,
            "rollout.prompts = 0: a step needs prompts"
        );
        ensure!(
            self.max_new_tokens > 0,
            "rollout.max_new_tokens = 0: a response needs room"
        );
        ensure!(
            self.max_rows > 0,
            "rollout.max_rows = 0: nothing could be decoded"
        );
        ensure!(
            self.temperature > 0.0 && self.temperature.is_finite(),
            "rollout.temperature = {} must be a number above 0 to explore",
            self.temperature
        );
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "rollout.top_p = {} is not in (0, 1]",
            self.top_p
        );
        Ok(())
    }
}

impl TrainConfig {
    fn check_sizes(&self) -> Result<()> {
        ensure!(self.steps > 0, "train.steps = 0: nothing would be trained");
        ensure!(
            self.micro_batch_tokens > 0,
            "train.micro_batch_tokens = 0: a forward needs tokens"
        );
        ensure!(
            self.keep_checkpoints > 0,
            "train.keep_checkpoints = 0; it must be at least 1"
        );
        Ok(())
    }
}
