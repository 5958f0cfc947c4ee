//! The command that trains on the inspected files.

use crate::Stage;
use crate::max_len::MaxLen;
use crate::report::TemplateFacts;
use crate::row_source::{Given, Rows};
use crate::shell::quoted;
use data::{Format, TrainOn};
use serde_json::Value;

/// What the command of a stage depends on.
pub(crate) struct Settings<'a> {
    pub given: &'a Given<'a>,
    pub model: Option<&'a str>,
    pub rows: &'a Rows,
    /// Of a plain model; None: a run has its own
    pub template: Option<&'a TemplateFacts>,
    /// What the model resolves to without a setting
    pub own_template: &'static str,
    pub max_len: &'a MaxLen,
}

/// The command line of a stage, which sees the rows as the report does.
pub(crate) fn command(stage: Stage, settings: &Settings) -> String {
    let given = settings.given;
    let mut words = vec![format!("wick {}", stage.name())];
    if let Some(config) = given.config {
        words.push(format!("--config {}", quoted(&config.to_string_lossy())));
    }
    let own = given.sets.iter().cloned();
    let sets = own.chain(sets(stage, settings));
    words.extend(sets.map(|set| format!("--set {}", quoted(&set))));
    let run = match stage {
        Stage::Rlhf => "ppo",
        other => other.name(),
    };
    words.push(format!("--run runs/{run}"));
    words.join(" ")
}

/// The settings, `key=value`.
fn sets(stage: Stage, settings: &Settings) -> Vec<String> {
    let Settings {
        given, rows, model, ..
    } = settings;
    let has_config = given.config.is_some();
    let mut sets = Vec::new();
    match (stage, has_config) {
        (Stage::Sft | Stage::Rm, false) => {
            sets.push(set("model.source", model.unwrap_or("MODEL")));
        }
        (Stage::Rlhf, false) => {
            sets.push(set("model.policy", model.unwrap_or("runs/sft")));
            sets.push(set("model.reward", "runs/rm"));
        }
        (_, true) => {
            let key = match stage {
                Stage::Rlhf => "model.policy",
                _ => "model.source",
            };
            sets.extend(model.map(|model| set(key, model)));
        }
    }
    match given.paths {
        [] => {}
        [one] => sets.push(set("data.path", one)),
        many => sets.push(format!("data.path={}", list(many))),
    }
    if given.args.format != Format::Auto {
        let name = serde_json::to_value(given.args.format).unwrap_or_default();
        sets.push(set("data.format", name.as_str().unwrap_or_default()));
    }
    if let Some(only) = &given.args.only {
        sets.push(set("data.only", &String::from(only.clone())));
    }
    if !given.args.ignore.is_empty() {
        sets.push(format!("data.ignore={}", list(&rows.ignore)));
    }
    for (ours, theirs) in &given.args.columns {
        sets.push(set(&format!("data.columns.{ours}"), theirs));
    }
    if let Some(max_len) = settings.max_len.setting(stage) {
        sets.push(format!("{}={max_len}", stage.max_len_key()));
    }
    let new_tokens = settings.max_len.new_tokens().filter(|_| !has_config);
    if let (Stage::Rlhf, Some(n)) = (stage, new_tokens) {
        sets.push(format!("rollout.max_new_tokens={n}"));
    }
    let train_on = rows.config_train_on.unwrap_or(TrainOn::All);
    if stage == Stage::Sft && rows.train_on != train_on {
        let name = serde_json::to_value(rows.train_on).unwrap_or_default();
        sets.push(set("data.train_on", name.as_str().unwrap_or_default()));
    }
    let known = match &rows.template {
        Some(template) => template,
        None => stage.default_template(settings.own_template),
    };
    let template = settings.template.map(|template| template.name);
    sets.extend(
        template
            .filter(|name| *name != known)
            .map(|name| set("model.template", name)),
    );
    if stage == Stage::Rlhf && !has_config {
        sets.push(set("algorithm.name", "ppo"));
    }
    sets
}

/// A setting that is a text. One that would be read as something else, such as a number, is quoted.
fn set(key: &str, text: &str) -> String {
    let plain = format!("{key}={text}");
    let table = run::settings_table(None, &[format!("x={text}")]).ok();
    let read = table.as_ref().and_then(|table| table.get("x")?.as_str());
    match read == Some(text) {
        true => plain,
        false => format!("{key}={}", Value::from(text)),
    }
}

fn list(items: &[String]) -> String {
    Value::from(items.to_vec()).to_string()
}
