//! The settings that an earlier run brings with its policy: its template, and the shape of its
//! adapter. `model.template` and `[lora]` of a config do not change them.

use crate::meta::PolicyMeta;
use anyhow::Result;
use models::LoraConfig;
use run::UnusedSettings;

/// The settings of the run that a policy comes from; all None for a plain model.
#[derive(Clone, Debug, Default)]
pub struct OwnSettings {
    /// Of the run or of the model
    name: String,
    template: Option<&'static str>,
    lora: Option<LoraConfig>,
}

impl PolicyMeta {
    /// What the run that the policy comes from has settled.
    pub fn own_settings(&self) -> OwnSettings {
        OwnSettings {
            name: self.source_text.clone(),
            template: self.is_run.then(|| self.template.name()),
            lora: self.adapter.clone(),
        }
    }
}

impl OwnSettings {
    /// Puts them in place of `model.template` and `[lora]`, so that a run's config.toml tells how
    /// it was trained.
    pub fn put_into(&self, template: &mut String, lora: &mut LoraConfig) {
        if let Some(own) = self.template {
            *template = own.to_string();
        }
        if let Some(own) = &self.lora {
            *lora = own.clone();
        }
    }

    /// Notes the given settings that contradict them. `default_template`: `model.template` where
    /// the user gives none.
    pub fn note_unused(
        &self,
        (template, default_template): (&str, &str),
        lora: &LoraConfig,
        unused: &mut UnusedSettings,
    ) -> Result<()> {
        let name = &self.name;
        let is_given = template != "auto" && template != default_template;
        if let Some(own) = self.template.filter(|own| is_given && *own != template) {
            let why = format!("{name} brings its own template, {own:?}");
            unused.note("model.template", &template.into(), &why);
        }
        let Some(own) = &self.lora else {
            return Ok(());
        };
        let table = |lora: &LoraConfig| serde_json::to_value(lora);
        let (given, default) = (table(lora)?, table(&LoraConfig::default())?);
        let own = table(own)?;
        for (key, value) in given.as_object().into_iter().flatten() {
            if *value != default[key] && *value != own[key] {
                let why = format!(
                    "the adapter of {name} is used, and its {key} is {}",
                    own[key]
                );
                unused.note(&format!("lora.{key}"), value, &why);
            }
        }
        Ok(())
    }
}
