//! Which policy answers, so that the answers of two never mix in one file.

use super::asked::Asked;
use super::config::AnswersConfig;
use crate::fastchat::Answer;
use crate::policies;
use anyhow::{Result, bail};
use policy::Policy;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Which model answers: everything an answer depends on beside the question.
pub(crate) struct Identity {
    pub model_id: String,
    fingerprint: String,
}

impl Identity {
    pub fn new(config: &AnswersConfig, policy: &Policy) -> Result<Self> {
        // A model's file or directory is identified by its name, a hub id as it is.
        let path = Path::new(&policy.name);
        let name = match path.exists() {
            true => policies::file_name(path),
            false => policy.name.clone(),
        };
        let model_id = config.model_id.clone().unwrap_or(name);
        Ok(Self {
            model_id,
            fingerprint: policies::fingerprint(&config.run, policy)?,
        })
    }

    /// A hash of everything an answer depends on: weights, question, temperature, length, seed.
    pub fn answer_id(&self, config: &AnswersConfig, asked: &Asked) -> String {
        let what = json!([
            self.model_id,
            self.fingerprint,
            asked.id,
            asked.first,
            asked.further,
            config.temperature(&asked.category),
            config.max_new_tokens,
            config.seed,
        ]);
        run::hash(what.to_string().as_bytes())[..22].to_string()
    }

    /// Fails if the answers in `out` are of another model, or would be other answers now.
    pub fn check(
        &self,
        config: &AnswersConfig,
        out: &Path,
        existing: &[Answer],
        asked: &[Asked],
    ) -> Result<()> {
        let out = out.display();
        let asked: BTreeMap<_, _> = asked.iter().map(|q| (&q.id, q)).collect();
        for answer in existing {
            if answer.model_id != self.model_id {
                bail!(
                    "{out} has answers of {}, not of {}; choose another --out",
                    answer.model_id,
                    self.model_id
                );
            }
            let id = &answer.question_id;
            let Some(asked) = asked.get(id) else {
                bail!(
                    "{out} answers question {id}, which is not in the question file; choose another --out"
                );
            };
            if answer.answer_id != self.answer_id(config, asked) {
                bail!(
                    "{out}: question {id} was answered with other weights or settings (temperature, \
                     --max-new-tokens, --seed) or by another version; use the same ones, or another \
                     --out"
                );
            }
        }
        Ok(())
    }
}
