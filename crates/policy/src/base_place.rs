//! Where the base of a run or an adapter lies: where it recorded, or where the user says
//! (`model.base`, `--base`). A base in another place must have the same numbers.

use crate::recorded::{find_recorded, run_and_adapter};
use anyhow::{Context, Error, Result, anyhow, bail};
use models::{AdapterBase, CausalLm, ModelSource, SpecialTokens};
use serde_json::Value;
use std::path::Path;
use tokenizers::Tokenizer;

/// The two names of the setting.
const SETTING: &str = "model.base (--base of the commands that evaluate)";

/// The base of a run or an adapter.
#[derive(Clone, Debug)]
pub struct BasePlace {
    /// The text that the base is opened by
    pub text: String,
    /// What the run recorded of its numbers
    fingerprint: Option<String>,
    /// The run or adapter that it belongs to; None: a plain model
    of: Option<String>,
    /// The user's, instead of what was recorded
    is_given: bool,
}

impl BasePlace {
    /// A plain model, the base of itself.
    pub(crate) fn model(text: &str) -> Self {
        Self {
            text: text.to_string(),
            fingerprint: None,
            of: None,
            is_given: false,
        }
    }

    /// Of the run in `dir`: `given`, or what `info`, its run.json, names.
    ///
    /// # Errors
    /// If run.json names none, or it is a path that does not exist.
    pub fn of_run(dir: &Path, info: &Value, given: Option<&str>) -> Result<Self> {
        let text = |key: &str| info.get(key).and_then(Value::as_str);
        let shown = dir.display();
        let recorded = || {
            let base = text("base");
            base.with_context(|| format!("{shown}/run.json does not name its base model"))
        };
        Ok(Self {
            text: locate(dir, given, recorded)?,
            fingerprint: text("base_fingerprint").map(str::to_string),
            of: Some(shown.to_string()),
            is_given: given.is_some(),
        })
    }

    /// Of the adapter in `dir`, which belongs to no run: `given`, or what its settings name.
    ///
    /// # Errors
    /// As [`Self::of_run`], and if they name a revision that is not the newest.
    pub(crate) fn of_adapter(dir: &Path, given: Option<&str>) -> Result<Self> {
        let AdapterBase {
            name,
            revision,
            fingerprint,
        } = AdapterBase::read(dir)?;
        let shown = dir.display();
        let recorded = || {
            name.as_deref().with_context(|| {
                format!("{shown}/adapter_config.json names no base; name one with {SETTING}")
            })
        };
        let text = locate(dir, given, recorded)?;
        if let (Some(revision), None) = (revision, given)
            && let Ok(ModelSource::Hub(id)) = ModelSource::parse(&text)
        {
            bail!(
                "{shown} belongs to the revision {revision} of {id}, and models of the hub are read \
                 as they are now; fetch it with `hf download {id} --revision {revision} --local-dir \
                 DIR` and name DIR with {SETTING}"
            );
        }
        if given.is_some() && fingerprint.is_none() {
            run::say!(
                "{shown}: whether {text} is the model that it was trained on ({}) cannot be checked: \
                 the adapter records no fingerprint, so only the shapes are",
                name.as_deref().unwrap_or("not named")
            );
        }
        Ok(Self {
            text,
            fingerprint: None, // Lora::load compares that of the adapter
            of: Some(shown.to_string()),
            is_given: given.is_some(),
        })
    }

    /// The error of opening it: where it is taken for a hub id, with what else it may be.
    pub fn explain(&self, error: Error) -> Error {
        let (Some(of), false) = (&self.of, self.is_given || Path::new(&self.text).exists()) else {
            return error;
        };
        anyhow!(
            "{}; {of} was trained on {:?}, and if that is a directory, there is none{}: name its \
             place with {SETTING}",
            run::one_line(&error),
            self.text,
            tried(Path::new(of), &self.text)
        )
    }

    /// Refuses a base that the user names whose tokens are not those that the run began with: the
    /// same numbers would get other ids.
    ///
    /// # Errors
    /// If a tokenizer or its special tokens differ, or the run's copy cannot be read.
    pub fn check_tokens(&self, tokenizer: &Tokenizer, special: &SpecialTokens) -> Result<()> {
        match (&self.of, self.is_given) {
            (Some(of), true) => same_tokens(Path::new(of), &self.text, tokenizer, special),
            _ => Ok(()),
        }
    }

    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Refuses a model of other numbers than those that the run recorded.
    pub(crate) fn check(&self, model: &CausalLm) -> Result<()> {
        let (Some(of), Some(recorded)) = (&self.of, &self.fingerprint) else {
            return Ok(());
        };
        let found = model.fingerprint()?;
        if found != *recorded {
            bail!(
                "{} is not the base that {of} was trained on: its fingerprint is {found}, and \
                 run.json has {recorded}; give the original",
                self.text
            );
        }
        Ok(())
    }
}

/// Refuses a base whose tokenizer or special tokens are not those that the run in `dir` wrote.
pub(crate) fn same_tokens(
    dir: &Path,
    base: &str,
    tokenizer: &Tokenizer,
    special: &SpecialTokens,
) -> Result<()> {
    let text = |tokenizer: &Tokenizer| {
        let text = tokenizer.to_string(false);
        text.map_err(|e| anyhow!("tokenizer: {e}"))
    };
    let differ = |what: &str| {
        let shown = dir.display();
        anyhow!(
            "{base} is not the base that {shown} began with: its {what} differ from {shown}'s, and the \
             same text would have other ids; give the original"
        )
    };
    let file = dir.join("tokenizer.json");
    if file.is_file() {
        let own = Tokenizer::from_file(&file).map_err(|e| anyhow!("{}: {e}", file.display()))?;
        if text(&own)? != text(tokenizer)? {
            return Err(differ("tokens"));
        }
    }
    let file = dir.join("special.json");
    if let Ok(bytes) = std::fs::read(&file) {
        let own: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", file.display()))?;
        if own != serde_json::to_value(special)? {
            return Err(differ("special tokens"));
        }
    }
    Ok(())
}

/// The base of the run or adapter in `dir`: `given`, or where the one that it `recorded` is now.
pub(crate) fn locate<'a>(
    dir: &Path,
    given: Option<&str>,
    recorded: impl FnOnce() -> Result<&'a str>,
) -> Result<String> {
    if let Some(given) = given {
        let parsed = ModelSource::parse(given);
        parsed.map_err(|error| anyhow!("the base of {}: {error}", dir.display()))?;
        return Ok(given.to_string());
    }
    let text = recorded()?;
    let found = find_recorded(dir, text);
    if ModelSource::parse(&found).is_err() && !Path::new(&found).exists() {
        bail!(
            "{} was trained on the base {text:?}, and there is none{}; name its place with {SETTING}",
            dir.display(),
            tried(dir, text)
        );
    }
    Ok(found)
}

/// The places where a recorded path was looked for.
fn tried(dir: &Path, text: &str) -> String {
    let shown = |path: &Path| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        whole.display().to_string()
    };
    match Path::new(text).is_absolute() {
        true => String::new(),
        false => format!(
            " at {} nor at {}, nor below a directory that holds it",
            shown(Path::new(text)),
            shown(&dir.join(text))
        ),
    }
}

/// Whether `text` is a run or an adapter that needs a base beside itself.
///
/// # Errors
/// If what is there cannot be read.
pub fn has_base(text: &str) -> Result<bool> {
    let given = Path::new(text);
    let (run, _) = run_and_adapter(given);
    Ok(match run.join("run.json").is_file() {
        true => !run.join("model").is_dir(),
        false => models::is_adapter(given)?,
    })
}

/// Whether the run in `dir` began from the plain model `text`.
pub(crate) fn began_from(dir: &Path, text: &str) -> Result<bool> {
    let Some(run) = run::open_saved_run(dir)? else {
        return Ok(false);
    };
    let first = run.info.get("first_base").or(run.info.get("base"));
    Ok(first.and_then(Value::as_str) == Some(text))
}
