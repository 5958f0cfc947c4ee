//! `model.template` of a config: how a plain model is prompted.

use anyhow::{Context, Result, anyhow, bail};
use data::Template;
use models::SpecialTokens;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use std::path::Path;

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

/// Checks `model.template_date`.
///
/// ```
/// assert!(policy::check_template_date(Some("2026-11-30")).is_ok());
/// assert!(policy::check_template_date(Some("today")).is_err());
/// ```
pub fn check_template_date(date: Option<&str>) -> Result<()> {
    let checked = date.map(data::template_time).transpose();
    checked.map(|_| ()).map_err(|e| anyhow!("model.{e}"))
}

/// Reads `model.template_date`: a text, or one of TOML's dates.
pub fn template_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    struct Date;
    impl<'de> Visitor<'de> for Date {
        type Value = Option<String>;

        fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
            to.write_str("a date such as 2026-11-30")
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_string()))
        }
        // toml hands a date over as a map of one text.
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let date = map.next_entry::<String, String>()?;
            Ok(date.map(|(_, text)| text))
        }
    }
    from.deserialize_any(Date)
}

/// The template that a run saved as `template.json`. One of a run from before the time of templates
/// was frozen gets the time at which that run began, which `info`, its run.json, records.
pub(crate) fn saved_template(run: &Path, info: &Value) -> Result<Template> {
    let file = run.join("template.json");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let template: Template =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
    Ok(dated(template, info))
}

/// The template with its frozen time; without one, with the time at which the run of `info`, a
/// run.json, began.
pub fn dated(template: Template, info: &Value) -> Template {
    match (template.date(), info["started"].as_str()) {
        (None, Some(started)) => template.at(started),
        _ => template,
    }
}

/// Whether two templates make the same prompts, but for the date that they print.
///
/// ```
/// use data::Template;
/// assert!(policy::same_but_date(&Template::Raw, &Template::Raw));
/// assert!(!policy::same_but_date(&Template::Raw, &Template::Alpaca));
/// ```
pub fn same_but_date(a: &Template, b: &Template) -> bool {
    let day = |template: &Template| template.clone().at("1970-01-01");
    day(a) == day(b)
}

/// The chat template that lies beside an adapter, where it is not its base's.
pub(crate) fn own_template(dir: &Path, base: Option<&str>, own: Option<String>) -> Option<String> {
    let own = own.filter(|own| Some(own.as_str()) != base)?;
    run::say!(
        "{}: the adapter brings its own chat template, which takes the place of its base's",
        dir.display()
    );
    Some(own)
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
        let chat = chat.map(|chat| {
            let template = Template::Chat {
                source: chat.to_string(),
                bos: text(special.bos.as_ref()).unwrap_or_default(),
                eos: text(special.eos.first()).unwrap_or_default(),
                date: None,
            };
            template.at(&data::template_now())
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
