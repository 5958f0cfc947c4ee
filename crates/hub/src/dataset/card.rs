//! The subsets that a README's YAML header declares (`configs:`), as the library `datasets` reads
//! it.

use super::split_names::TRAIN;
use serde_json::Value;

/// A subset of a README's header.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    pub name: String,
    /// The patterns of each split, in order; None: by the names of the files.
    pub data_files: Option<Vec<(String, Vec<String>)>>,
    /// The folder that patterns and names are relative to; empty: the whole repository.
    pub data_dir: String,
    /// `default: true`.
    pub is_default: bool,
}

/// The part of the header that says where the data is.
#[derive(serde::Deserialize)]
struct Header {
    configs: Option<Value>,
}

/// The subsets of a README, without those that name no files. The error is one line that follows
/// the file's name.
pub(super) fn configs(readme: &str) -> Result<Vec<Config>, String> {
    let Some(yaml) = header(readme) else {
        return Ok(Vec::new());
    };
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    let parsed = serde_saphyr::from_str_with_options::<Option<Header>>(yaml, options);
    let header = parsed.map_err(|e| {
        let text = e.to_string();
        format!("YAML header: {}", text.lines().next().unwrap_or_default())
    })?;
    let configs = match header.and_then(|header| header.configs) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(configs)) => configs,
        Some(_) => return Err("configs: is not a list".into()),
    };
    let configs = configs.iter().map(config).collect::<Result<Vec<_>, _>>()?;
    let has_place = |c: &Config| c.data_files.is_some() || !c.data_dir.is_empty();
    Ok(configs.into_iter().filter(has_place).collect())
}

/// The text between the lines `---` at the beginning.
fn header(readme: &str) -> Option<&str> {
    let text = readme.trim_start_matches('\u{feff}').trim_start();
    let text = text
        .strip_prefix("---")?
        .trim_start_matches([' ', '\t', '\r']);
    let text = text.strip_prefix('\n')?;
    if text.starts_with("---") {
        return None;
    }
    let end = text.find("\n---")?;
    Some(&text[..end])
}

fn config(value: &Value) -> Result<Config, String> {
    let name = value.get("config_name").and_then(text);
    let Some(name) = name else {
        return Err("an entry of configs: has no config_name".into());
    };
    let wrong = |what: &str| format!("configs: {name}: data_files {what}");
    let data_files = match value.get("data_files") {
        None | Some(Value::Null) => None,
        Some(given @ Value::String(_)) => Some(vec![(TRAIN.to_string(), patterns(given)?)]),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            let all = patterns(&Value::Array(list.clone()))?;
            Some(vec![(TRAIN.to_string(), all)])
        }
        Some(Value::Array(list)) => {
            let mut splits: Vec<(String, Vec<String>)> = Vec::new();
            for entry in list {
                let split = entry.get("split").and_then(text);
                let (Some(split), Some(path)) = (split, entry.get("path")) else {
                    return Err(wrong("has an entry without split or path"));
                };
                if splits.iter().any(|(other, _)| *other == split) {
                    return Err(wrong(&format!("names the split {split} twice")));
                }
                splits.push((split, patterns(path)?));
            }
            Some(splits)
        }
        Some(_) => return Err(wrong("is neither a pattern nor a list")),
    };
    let data_dir = value.get("data_dir").and_then(text).unwrap_or_default();
    let data_dir = data_dir.trim_start_matches("./").trim_matches('/');
    Ok(Config {
        data_files,
        data_dir: data_dir.to_string(),
        is_default: value.get("default") == Some(&Value::Bool(true)),
        name,
    })
}

/// A pattern or a list of them.
fn patterns(value: &Value) -> Result<Vec<String>, String> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let pattern = |value: &Value| match value.as_str() {
        Some(url) if url.contains("://") => Err(format!(
            "names {url}; only files of the repository itself are fetched"
        )),
        Some(pattern) => Ok(pattern.trim_start_matches("./").to_string()),
        None => Err(format!("data_files: {value} is no pattern")),
    };
    list.iter().map(pattern).collect()
}

/// A name, also one that YAML reads as a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
