//! Which settings nothing reads, by method and by the other settings.

use super::{ClauseSource, Config};
use algorithms::DataSource;
use anyhow::{Result, ensure};
use models::SamplingWeights;
use policy::OwnSettings;
use rewards::SourceConfig;
use run::UnusedSettings;

impl Config {
    /// Refuses settings that nothing reads; on `resume`, says so. `own`: what the policy brings.
    pub(crate) fn refuse_unused(&self, own: &OwnSettings, resume: bool) -> Result<()> {
        let weighs = |source: &SourceConfig| source.shared.weight != 0.0;
        let sources = self.sources();
        ensure!(
            resume || sources.is_empty() || sources.iter().any(weighs),
            "every source of [[rewards]] has weight = 0, so all responses score 0 and nothing is \
             learnt; give one a weight"
        );
        let (name, keys) = self.algorithm_keys()?;
        let mut minimal: toml::Table =
            "model = { policy = \"\" }\ndata = { path = \"\" }".parse()?;
        minimal.insert("algorithm".into(), self.algorithm.clone().into());
        let defaults: Self = run::from_table(&minimal, "")?;
        let mut unused = UnusedSettings::new(self, &defaults)?;

        let given = self.data.eval_path.is_some();
        unused.check("data.held_out", given, data::EVAL_PATH_INSTEAD);
        unused.check("lora.dropout", true, "RL trains without dropout");
        let template = self.model.template.as_str();
        let lora = models::LoraConfig {
            dropout: 0.0,
            ..self.lora.clone()
        };
        own.note_unused((template, "auto"), &lora, &mut unused)?;
        self.note_unused_of_method(&name, &mut unused)?;
        for (key, why) in algorithms::unused(&name, &keys)? {
            let value = keys.pointer(&format!("/{}", key.replace('.', "/")));
            let value = value.cloned().unwrap_or_default();
            unused.note(&format!("algorithm.{key}"), &value, &why);
        }
        unused.refuse_or_report(resume)
    }

    fn note_unused_of_method(&self, name: &str, unused: &mut UnusedSettings) -> Result<()> {
        let needs = self.build_algorithm()?.requirements();
        let (r, c) = (&self.rollout, &self.rollout.clauses);
        let no_critic = format!("{name} has no critic");
        for key in ["critic", "critic_warmup_steps", "critic_init"] {
            unused.check(&format!("train.{key}"), !needs.critic, &no_critic);
        }
        if let Some(dir) = &self.model.reward
            && !self.critic_starts_from_reward()?
            && !self.scores_with_model()
        {
            let why = "[[rewards]] has no source of kind \"model\" (add one to use it), and no \
                       critic starts from it";
            unused.note("model.reward", &dir.to_string_lossy().into(), why);
        }
        let pool = matches!(needs.source, DataSource::Pool(_));
        let why = format!("{name} keeps all rows in memory");
        unused.check("data.memory_mb", pool, &why);
        let stored = needs.source != DataSource::Rollouts;
        let why = format!("{name} does not sample at each step");
        unused.check("rollout.rescore", stored, &why);
        unused.check("watch", stored, &why);
        let same = r.weights == SamplingWeights::Same;
        let why = "only rollout.weights makes importance weights";
        unused.check("rollout.importance_cap", same, why);

        let why = "only ma_ppo with termination = \"parsing\" asks for clauses";
        unused.check("rollout.clauses", !needs.clauses, why);
        if needs.clauses {
            let why = "rollout.clauses.source is another one";
            let (file, program) = (ClauseSource::File, ClauseSource::Program);
            unused.check("rollout.clauses.path", c.source != file, why);
            for key in ["command", "timeout_secs", "retries"] {
                let key = format!("rollout.clauses.{key}");
                unused.check(&key, c.source != program, why);
            }
        }
        Ok(())
    }

    /// The settings with what the policy brings in place of what was given.
    pub(crate) fn in_use(mut self, own: &OwnSettings) -> Self {
        let dropout = self.lora.dropout;
        own.put_into(&mut self.model.template, &mut self.lora);
        self.lora.dropout = dropout;
        self
    }
}
