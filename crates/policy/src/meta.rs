//! A policy before its weights are read: plans are made from it, and runs start from it.

use crate::base::{encoder_of, report_notes, say_notes};
use crate::base_place::BasePlace;
use crate::source::{PolicySource, PolicyText};
use crate::template::{TemplateChoice, check_template_date, own_template, saved_template};
use anyhow::{Result, ensure};
use data::{Encoder, Template};
use models::{BaseWeights, Fetch, LoraConfig, ModelMeta, ModelSource};
use run::Rules;
use std::path::{Path, PathBuf};

/// What is known of a policy without weights: its sizes and its encoder.
pub struct PolicyMeta {
    /// Of the run or of the model, for tables
    pub name: String,
    /// The text that the base is opened by
    pub source: String,
    pub base: ModelMeta,
    /// Settings of its own adapter
    pub adapter: Option<LoraConfig>,
    pub encoder: Encoder,
    pub template: Template,
    pub(crate) adapter_dir: Option<PathBuf>,
    pub(crate) place: BasePlace,
    /// The text that it was opened by
    pub(crate) source_text: String,
    /// Whether it comes from a run, with that run's template
    pub(crate) is_run: bool,
}

impl PolicyMeta {
    /// Opens `policy` as [`Policy::open`](crate::Policy::open) does. `weights`: the format of the
    /// projections (`model.weights`); None: as in the run that `policy` names, else as stored.
    /// `fetch`: the whole of a hub model where its weights will be read.
    ///
    /// # Errors
    /// Where the base cannot be read, or the adapter was trained on another format.
    pub fn open(
        policy: PolicyText,
        template: TemplateChoice,
        weights: Option<BaseWeights>,
        fetch: Fetch,
    ) -> Result<Self> {
        let (text, source) = (policy.text, PolicySource::find(policy)?);
        if let (Some(asked), Some(trained_on)) = (weights, source.weights) {
            ensure!(
                asked == trained_on,
                "model.weights = \"{}\", but the adapter of {text} was trained on its base in \
                 \"{}\"; leave it out, or train that run with it, too",
                asked.name(),
                trained_on.name()
            );
        }
        let place = &source.base;
        let base = models::model_meta(&ModelSource::parse(&place.text)?, fetch);
        let mut base = base.map_err(|e| place.explain(e.into()))?;
        place.check_tokens(&base.tokenizer, &base.special)?;
        base.projections = weights.or(source.weights).unwrap_or_default();
        report_notes(&place.text, &base);
        warn_of_unrounded(&base)?;
        if let (Some(dir), None) = (&source.adapter_dir, &source.template) {
            let (config, special) = (&base.config, &base.special);
            let own = models::adapter_chat_template(dir, config, &base.tokenizer, special)?;
            let own = own_template(dir, base.chat_template.as_deref(), own);
            base.chat_template = own.or(base.chat_template);
        }
        Self::new(text, base, source, template)
    }

    /// Fetches the weights of a base of the hub that was opened with [`Fetch::Shape`].
    ///
    /// # Errors
    /// Where they cannot be fetched, or the hub has another revision by now.
    pub fn fetch_weights(&mut self) -> Result<()> {
        let source = ModelSource::parse(&self.place.text)?;
        let notes = self.base.fetch_weights(&source);
        say_notes(
            &self.place.text,
            &notes.map_err(|e| self.place.explain(e.into()))?,
        );
        Ok(())
    }

    /// Where its own adapter is.
    pub fn adapter_dir(&self) -> Option<&Path> {
        self.adapter_dir.as_deref()
    }

    /// The text that it was opened by.
    pub fn source_text(&self) -> &str {
        &self.source_text
    }

    /// What the run that it comes from recorded of the numbers of its base.
    pub fn recorded_fingerprint(&self) -> Option<&str> {
        self.place.fingerprint()
    }

    /// A model of random weights of the shape that `dir` describes.
    pub fn random(dir: &Path, seed: u64, template: TemplateChoice) -> Result<Self> {
        let mut source = PolicySource::model(&dir.to_string_lossy());
        source.name.clone_from(&source.base.text);
        let text = source.base.text.clone();
        Self::new(&text, ModelMeta::random(dir, seed)?, source, template)
    }

    fn new(
        text: &str,
        base: ModelMeta,
        source: PolicySource,
        template: TemplateChoice,
    ) -> Result<Self> {
        let (name, adapter_dir, place) = (source.name, source.adapter_dir, source.base);
        let (source, of_run) = (place.text.clone(), source.template);
        let is_run = of_run.is_some();
        let template = match of_run {
            Some(template) => template,
            None => template.resolve(&source, &base.special, base.chat_template.as_deref())?,
        };
        let context = base.config.max_position_embeddings;
        let encoder = encoder_of(&source, &base.tokenizer, &base.special, &template)?;
        let config_of = |dir: &PathBuf| LoraConfig::of_adapter_on(dir, &base.config);
        Ok(Self {
            encoder: encoder.within(context),
            adapter: adapter_dir.as_ref().map(config_of).transpose()?,
            name,
            source,
            base,
            template,
            adapter_dir,
            place,
            source_text: text.to_string(),
            is_run,
        })
    }

    /// The same policy whose template prints a frozen time: that of the `resumed` run, else
    /// `given` (`model.template_date`), else that of the run it comes from, else now. A run that is
    /// resumed is encoded by the rules that it began under.
    ///
    /// # Errors
    /// If `given` is no date, or the resumed run cannot be read.
    pub fn at(mut self, given: Option<&str>, resumed: Option<&Path>) -> Result<Self> {
        check_template_date(given)?;
        let run = resumed.map(run::open_saved_run).transpose()?.flatten();
        if run
            .as_ref()
            .is_some_and(|run| run.rules() < Rules::WholeAnswers)
        {
            self.encoder = self.encoder.for_old_runs();
        }
        if run
            .as_ref()
            .is_some_and(|run| run.rules() < Rules::AllAnswers)
        {
            self.encoder = self.encoder.keeping_blanks();
        }
        if !self.template.prints_the_date() {
            if given.is_some() {
                run::say!("model.template_date is not used: the template prints no date");
            }
            return Ok(self);
        }
        // A run that was killed at its beginning has none, and has used no date yet.
        let run = run.filter(|run| run.dir.join("template.json").exists());
        let of_run = run.map(|run| saved_template(&run.dir, &run.info));
        let of_run = of_run.transpose()?;
        let of_run = of_run.as_ref().and_then(Template::date);
        let own = self.template.date().map(str::to_string);
        if let (None, Some(given), Some(own)) = (of_run, given, &own)
            && given != own
            && self.is_run
        {
            run::say!(
                "{} prints the date {own}; this run prints {given}",
                self.name
            );
        }
        match of_run.or(given) {
            None => Ok(self),
            Some(time) => {
                let template = self.template.clone().at(time);
                Ok(Self {
                    encoder: self.encoder.clone().with_template(template.clone()),
                    template,
                    ..self
                })
            }
        }
    }

    /// Whether it comes from a run, which brings its own template.
    pub fn is_of_run(&self) -> bool {
        self.is_run
    }

    /// The most tokens that a sequence may have.
    pub fn context(&self) -> usize {
        self.base.config.max_position_embeddings
    }

    /// The most tokens that any prompt and its answer may have together.
    pub fn decoding_context(&self) -> usize {
        self.base.config.decoding_context()
    }

    /// The settings of its own adapter, or else `lora`, which must fit the base.
    pub fn lora_or(&self, lora: &LoraConfig) -> Result<LoraConfig> {
        match &self.adapter {
            Some(adapter) => Ok(adapter.clone()),
            None => {
                lora.check(&self.base.config)?;
                Ok(lora.clone())
            }
        }
    }
}

/// Reports projections that cannot be rounded to the format that `model.weights` names.
fn warn_of_unrounded(base: &ModelMeta) -> Result<()> {
    let (n_unrounded, n_all) = base.projections.count_fallbacks(&base.config)?;
    if n_unrounded > 0 {
        let instead = match base.projections {
            BaseWeights::Q4_K => {
                "in q5_0, or as stored if their rows are not multiples of 32 either"
            }
            _ => "as stored",
        };
        run::say!(
            "model.weights = \"{}\": the rows of {n_unrounded} of {n_all} projections are not whole \
             quantised blocks; they are kept {instead}",
            base.projections.name(),
        );
    }
    Ok(())
}
