//! Cuts secrets out of text that is printed or stored: keys that a setting, an address, a server or
//! a program brought along, whatever field they are in.

use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::{LazyLock, Mutex, OnceLock};

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";
/// A shorter value of a variable is more likely a word than a key.
const MIN_LEN: usize = 8;

/// Keys by their form. A part named `keep` stays.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let forms = [
        // Authorization: Bearer KEY
        r"(?i)(?P<keep>\bbearer\s+)(?P<key>[A-Za-z0-9._~+/=-]{8,})",
        // keys of OpenAI, Anthropic, Hugging Face, GitHub, Google, AWS, Slack
        r"(?P<key>\bsk-(?:(?:proj|ant|or|svcacct|admin)-[A-Za-z0-9_-]{12,}|[A-Za-z0-9]{16,}))",
        r"\bhf_[A-Za-z0-9]{16,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"\bAKIA[A-Z0-9]{16}\b",
        r"\bxox[abpr]-[A-Za-z0-9-]{10,}",
        // https://user:password@host
        r#"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#@"'\\]+@"#,
        // ?auth=KEY, &api_key=KEY, #token=KEY
        concat!(
            r"(?i)(?P<keep>[?&#;][a-z_-]*(?:auth|token|key|secret|password|signature|sig)=)",
            r#"[^&\s"'#\\]+"#
        ),
    ];
    let compile = |form: &&str| Regex::new(form).expect("the patterns are constants");
    forms.iter().map(compile).collect()
});

/// Values that a stage has read as keys.
static REGISTERED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Hides `value` in everything that is printed or stored from now on.
pub fn hide(value: &str) {
    if value.len() >= MIN_LEN
        && let Ok(mut known) = REGISTERED.lock()
        && !known.iter().any(|other| other == value)
    {
        known.push(value.to_string());
    }
}

/// The text without secrets: values of [`hide`], values of environment variables that are named
/// like keys, and what looks like a key.
///
/// ```
/// let text = "GET https://me:pass@host/v1?auth=abc failed: Bearer abcdef0123456789";
/// let shown = "GET https://(hidden)@host/v1?auth=(hidden) failed: Bearer (hidden)";
/// assert_eq!(run::redact(text), shown);
/// assert_eq!(run::redact("the bearer of bad news"), "the bearer of bad news");
/// ```
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let mut replace = |value: &str| {
        if text.contains(value) {
            text = Cow::Owned(text.replace(value, HIDDEN));
        }
    };
    of_environment().iter().for_each(|value| replace(value));
    if let Ok(known) = REGISTERED.lock() {
        known.iter().for_each(|value| replace(value));
    }
    for form in FORMS.iter() {
        if form.is_match(&text) {
            text = Cow::Owned(form.replace_all(&text, without_key).into_owned());
        }
    }
    text
}

/// [`redact`] on every text of a JSON value.
pub(crate) fn redact_json(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = redact(text) {
                *text = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_json),
        Value::Object(map) => map.values_mut().for_each(redact_json),
        _ => {}
    }
}

fn without_key(found: &Captures) -> String {
    // "Bearer" is a word, too: a key has a digit or is long.
    if let Some(key) = found.name("key") {
        let key = key.as_str();
        if key.len() < 20 && !key.bytes().any(|b| b.is_ascii_digit()) {
            return found[0].to_string();
        }
    }
    let keep = found.name("keep").map_or("", |part| part.as_str());
    let at = if found[0].ends_with('@') { "@" } else { "" };
    format!("{keep}{HIDDEN}{at}")
}

/// Values of the environment variables that are named like keys. Read once.
fn of_environment() -> &'static [String] {
    static VALUES: OnceLock<Vec<String>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let ends = ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"];
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| {
                ends.iter()
                    .any(|end| name.to_ascii_uppercase().ends_with(end))
            })
            .map(|(_, value)| value)
            .filter(|value| value.len() >= MIN_LEN && !value.contains('/'))
            .collect()
    })
}
