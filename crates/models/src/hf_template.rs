//! The chat template of a Hugging Face directory, chosen as transformers does.

use crate::hf_files::{read_json, read_text};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

const TOOL_USE: &str = "tool_use";
const OTHERS: &str = "additional_chat_templates";

/// `chat_template.jinja` comes first, then the template of tokenizer_config.json (one, or the one
/// named default), then `chat_template.json`. Says in `notes` which of two that differ is used. One
/// named tool_use beside it is for the rows with tools.
pub(crate) fn chat_template(
    dir: &Path,
    settings: &Value,
    notes: &mut Vec<String>,
) -> Result<Option<String>> {
    let of_config = named(&dir.join("tokenizer_config.json"), settings)?;
    let mut of_file = read_text(&dir.join("chat_template.jinja"))?;
    if let Some(template) = &mut of_file {
        let file = dir.join(format!("{OTHERS}/{TOOL_USE}.jinja"));
        *template = for_tools(template, read_text(&file)?.as_deref());
    }
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
            let named = |name: &str| {
                let found = list.iter().find(|template| template["name"] == name)?;
                found["template"].as_str()
            };
            if let Some(default) = named("default") {
                return Ok(Some(for_tools(default, named(TOOL_USE))));
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

/// One template that is `tool_use` where a row has tools, and `default` elsewhere. Both begin a
/// line, and an empty expression ends them: Jinja cuts blanks and line breaks beside a block.
///
/// If only one of them has generation tags, rows of the other would have nothing to learn from, so
/// the result is `default` alone.
pub(crate) fn for_tools(default: &str, tool_use: Option<&str>) -> String {
    let tagged = |template: &str| template.contains("endgeneration");
    let fits = |template: &&str| *template != default && tagged(template) == tagged(default);
    let Some(tool_use) = tool_use.filter(fits) else {
        return default.to_string();
    };
    // the last line break of a template is no part of it
    let [default, tool_use] = [default, tool_use].map(|t| t.strip_suffix('\n').unwrap_or(t));
    [
        "{% if tools %}\n",
        tool_use,
        "{{ '' }}{% else %}\n",
        default,
        "{{ '' }}{% endif %}",
    ]
    .concat()
}

/// A file in additional_chat_templates/.
fn other_templates(dir: &Path) -> Result<Option<String>> {
    let dir = dir.join(OTHERS);
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io(&dir))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.ends_with(".jinja")).min())
}
