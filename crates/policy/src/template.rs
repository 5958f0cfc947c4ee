//! `model.template` of a config: how a plain model is prompted.

use anyhow::{Context, Result, bail};
use data::Template;
use models::SpecialTokens;

/// `template = …` of a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateChoice {
    /// The model's own chat template, or Alpaca's where it has none
    #[default]
    Auto,
    Alpaca,
    Chat,
    Raw,
}

/// The default of `model.template` where a run brings its own.
pub fn default_template() -> String {
    "auto".into()
}

impl TemplateChoice {
    /// Parses the value of the setting.
    ///
    /// ```
    /// use policy::TemplateChoice;
    /// assert_eq!(TemplateChoice::parse("chat").unwrap(), TemplateChoice::Chat);
    /// assert!(TemplateChoice::parse("vicuna").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "alpaca" => Self::Alpaca,
            "chat" => Self::Chat,
            "raw" => Self::Raw,
            other => {
                bail!("template \"{other}\" is not known; it is one of auto, alpaca, chat, raw")
            }
        })
    }

    /// `source`: the model's name, for the error. `chat`: its chat template.
    pub(crate) fn resolve(
        self,
        source: &str,
        special: &SpecialTokens,
        chat: Option<&str>,
    ) -> Result<Template> {
        let text = |token: Option<&(u32, String)>| token.map(|(_, text)| text.clone());
        let chat = chat.map(|chat| Template::Chat {
            source: chat.to_string(),
            bos: text(special.bos.as_ref()).unwrap_or_default(),
            eos: text(special.eos.first()).unwrap_or_default(),
        });
        Ok(match self {
            Self::Alpaca => Template::Alpaca,
            Self::Raw => Template::Raw,
            Self::Chat => chat.with_context(|| {
                format!(
                    "template = \"chat\", but {source} has no chat template; use template = \
                     \"alpaca\""
                )
            })?,
            Self::Auto => chat.unwrap_or(Template::Alpaca),
        })
    }
}
