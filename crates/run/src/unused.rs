//! Settings that nothing reads under the others, such as those of a critic that the method does
//! not have. A new run refuses them; silence would let a user believe that they were used.

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

/// Collects the settings of a run that have another value than their default and are never read.
///
/// ```
/// use serde_json::json;
/// let defaults = json!({ "train": { "critic": { "lr": 0.1, "eps": 1e-5 } } });
/// let given = json!({ "train": { "critic": { "lr": 0.2, "eps": 1e-5 } } });
/// let mut unused = run::UnusedSettings::new(&given, &defaults)?;
/// unused.check("train.critic", true, "rloo has no critic");
/// assert_eq!(
///     unused.refuse().unwrap_err().to_string(),
///     "train.critic.lr = 0.2 would not be used: rloo has no critic; leave it out, \
///      or unset it with --set train.critic.lr=",
/// );
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct UnusedSettings {
    given: Value,
    defaults: Value,
    found: Vec<String>,
}

impl UnusedSettings {
    /// `defaults`: the same settings where the user gave none.
    pub fn new(given: &impl Serialize, defaults: &impl Serialize) -> Result<Self> {
        Ok(Self {
            given: serde_json::to_value(given)?,
            defaults: serde_json::to_value(defaults)?,
            found: Vec::new(),
        })
    }

    /// Where `is_unused`: notes every key at or below the dotted `key` that is not at its default.
    /// `why` completes "would not be used: …".
    pub fn check(&mut self, key: &str, is_unused: bool, why: &str) {
        if is_unused {
            let pointer = format!("/{}", key.replace('.', "/"));
            let at = |table: &Value| table.pointer(&pointer).cloned().unwrap_or_default();
            let (given, default) = (at(&self.given), at(&self.defaults));
            note(key, &given, &default, why, &mut self.found);
        }
    }

    /// Notes that `key` = `value` is not used, whatever its default.
    pub fn note(&mut self, key: &str, value: &Value, why: &str) {
        self.found.push(sentence(key, value, why));
    }

    /// [`refuse`](Self::refuse), or for a run that is resumed [`report`](Self::report).
    pub fn refuse_or_report(self, resume: bool) -> Result<()> {
        match resume {
            true => {
                self.report();
                Ok(())
            }
            false => self.refuse(),
        }
    }

    /// An error for the first of them.
    pub fn refuse(self) -> Result<()> {
        match self.found.first() {
            Some(first) => {
                let (key, _) = first.split_once(" = ").expect("a sentence begins so");
                bail!("{first}; leave it out, or unset it with --set {key}=")
            }
            None => Ok(()),
        }
    }

    /// Says on stderr what is not used: a run that an earlier version began with such settings
    /// goes on as it began.
    pub fn report(self) {
        for line in self.found {
            crate::say!("{line}");
        }
    }
}

fn note(key: &str, given: &Value, default: &Value, why: &str, found: &mut Vec<String>) {
    if given == default || given.is_null() {
        return;
    }
    match given.as_object() {
        Some(table) => {
            for (name, value) in table {
                let default = default.get(name).unwrap_or(&Value::Null);
                note(&format!("{key}.{name}"), value, default, why, found);
            }
        }
        None => found.push(sentence(key, given, why)),
    }
}

fn sentence(key: &str, value: &Value, why: &str) -> String {
    format!("{key} = {value} would not be used: {why}")
}
