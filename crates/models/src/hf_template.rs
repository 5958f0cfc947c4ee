//! The chat template of a Hugging Face directory, chosen as transformers does.

use crate::hf_files::{read_json, read_text};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// `chat_template.jinja` comes first, then the template of tokenizer_config.json (one, or the one
/// named default), then `chat_template.json`. Says in `notes` which of two that differ is used.
pub(crate) fn chat_template(
    dir: &Path,
    settings: &Value,
    notes: &mut Vec<String>,
) -> Result<Option<String>> {
    let of_config = named(&dir.join("tokenizer_config.json"), settings)?;
    let of_file = read_text(&dir.join("chat_template.jinja"))?;
    if let (Some(file), Some(config)) = (&of_file, &of_config)
        && file != config
    {
        notes.push(
            "chat_template.jinja and tokenizer_config.json have different chat templates; \
             chat_template.jinja is used, as in transformers"
                .into(),
        );
    }
    if let Some(template) = of_file.or(of_config) {
        return Ok(Some(template));
    }
    if let Some(name) = other_templates(dir)? {
        return Err(Error::at(
            dir,
            format!(
                "has additional_chat_templates/{name} but no default chat template; copy the one to \
                 use to chat_template.jinja"
            ),
        ));
    }
    let file = dir.join("chat_template.json");
    named(&file, &read_json(&file)?.unwrap_or(Value::Null))
}

/// The template in a file's `chat_template`: a text, or a list with one named default.
fn named(file: &Path, settings: &Value) -> Result<Option<String>> {
    match settings.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(list)) => {
            let named = |template: &&Value| template["name"] == "default";
            let default = list.iter().find(named).map(|t| &t["template"]);
            if let Some(template) = default.and_then(Value::as_str) {
                return Ok(Some(template.to_string()));
            }
            let names: Vec<_> = list.iter().filter_map(|t| t["name"].as_str()).collect();
            Err(Error::at(
                file,
                format!(
                    "none of its chat templates is named default (they are: {}); rename the one to use",
                    names.join(", ")
                ),
            ))
        }
        Some(other) => {
            let kind = match other {
                Value::Object(_) => "an object",
                _ => "no text",
            };
            Err(Error::at(
                file,
                format!("chat_template is {kind}; it must be a text or a list"),
            ))
        }
    }
}

/// A file in additional_chat_templates/.
fn other_templates(dir: &Path) -> Result<Option<String>> {
    let dir = dir.join("additional_chat_templates");
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io(&dir))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.ends_with(".jinja")).min())
}
