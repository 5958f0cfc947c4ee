//! The command that trains on the inspected files.

use crate::Stage;
use crate::row_args::RowArgs;
use data::Format;
use serde_json::Value;

/// What the command of a stage depends on.
pub(crate) struct Settings<'a> {
    pub rows: &'a RowArgs,
    pub model: Option<&'a str>,
    /// The template that a plain model was given; None: a run has its own
    pub template: Option<&'a str>,
    /// Whether it was asked for
    pub template_is_given: bool,
    pub max_len: usize,
    pub learns_last: bool,
}

/// The `max_len` of every stage where it is not set.
pub(crate) const MAX_LEN: usize = 512;

/// The command line of a stage.
pub(crate) fn command(stage: Stage, settings: &Settings) -> String {
    let rows = settings.rows;
    let model = settings.model.unwrap_or("MODEL");
    let mut sets = match stage {
        Stage::Sft | Stage::Rm => vec![format!("model.source={model}")],
        Stage::Rlhf => vec![
            format!("model.policy={}", settings.model.unwrap_or("runs/sft")),
            "model.reward=runs/rm".to_string(),
        ],
    };
    sets.push(match &rows.paths[..] {
        [one] => format!("data.path={one}"),
        many => format!("data.path={}", list(many)),
    });
    if rows.format != Format::Auto {
        let name = serde_json::to_value(rows.format).unwrap_or_default();
        sets.push(format!("data.format={}", name.as_str().unwrap_or_default()));
    }
    if let Some(only) = &rows.only {
        sets.push(format!("data.only={}", String::from(only.clone())));
    }
    if !rows.ignore.is_empty() {
        sets.push(format!("data.ignore={}", list(&rows.ignore)));
    }
    if settings.max_len != MAX_LEN {
        let key = match stage {
            Stage::Rlhf => "max_prompt_len",
            Stage::Sft | Stage::Rm => "max_len",
        };
        sets.push(format!("data.{key}={}", settings.max_len));
    }
    if stage == Stage::Sft && settings.learns_last {
        sets.push("data.train_on=last".to_string());
    }
    if let Some(template) = settings.template {
        // by itself sft takes Alpaca's, and rm the model's own
        let is_other = match stage {
            Stage::Sft => template != "alpaca",
            Stage::Rm => settings.template_is_given,
            Stage::Rlhf => false,
        };
        if is_other {
            sets.push(format!("model.template={template}"));
        }
    }
    if stage == Stage::Rlhf {
        sets.push("algorithm.name=ppo".to_string());
    }
    let sets = sets.iter().map(|set| format!("--set {}", quoted(set)));
    let sets = sets.collect::<Vec<_>>().join(" ");
    let run = match stage {
        Stage::Rlhf => "ppo",
        other => other.name(),
    };
    format!("wick {} {sets} --run runs/{run}", stage.name())
}

fn list(items: &[String]) -> String {
    Value::from(items.to_vec()).to_string()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_./=:@%+,-".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
