//! The kinds of source, and the keys of each.

use crate::bleu::sentence_bleu;
use crate::format::Format;
use crate::length::Length;
use crate::rouge::rouge_n;
use crate::shared::own_keys;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Table;

/// Makes the enum of kinds, their names and their parser from one list.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:literal $variant:ident($keys:ty),)+) => {
        /// A kind of source with its own keys.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $name)] $variant($keys),)+
        }

        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$($name),+];

        impl Kind {
            /// The name in `kind = …`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// Reads a kind's own keys. None: no kind has this name.
            pub(crate) fn parse(name: &str, own: &Table) -> Result<Option<Self>, String> {
                Ok(Some(match name {
                    $($name => Self::$variant(own_keys(name, own)?),)+
                    _ => return Ok(None),
                }))
            }
        }
    };
}

kinds! {
    /// The trained reward model, normalised as its artefact says
    "model" Model(Model),
    /// Sentence BLEU against the reference answer, 0..1
    "bleu" Bleu(Bleu),
    /// F1 against the reference answer, 0..1
    "rouge_1" Rouge1(Rouge),
    "rouge_2" Rouge2(Rouge),
    "rouge_l" RougeL(Rouge),
    "rouge_lsum" RougeLsum(Rouge),
    /// How close the length is to a target, 0..1
    "length" Length(Length),
    /// Whether the text has the required format, 0 or 1
    "format" Format(Format),
    /// Scores of an external program
    "process" Process(Process),
    /// Scores of a web server
    "http" Http(Http),
}

/// Keys of kind `model`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    pub unfinished: Unfinished,
}

/// Where the reward model reads a response that was cut off. It was trained on answers that end in
/// EOS, and reads their EOS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfinished {
    /// At its last token, a position that no training row had; a missing-EOS penalty is meant to
    /// outweigh what it says there
    #[default]
    LastToken,
    /// At an EOS put after it
    Eos,
}

/// Keys of kind `bleu`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bleu {
    /// true: a response of fewer than 4 tokens is scored by the n-grams it has; false: it scores 0
    pub effective_order: bool,
}

impl Default for Bleu {
    fn default() -> Self {
        Self {
            effective_order: true,
        }
    }
}

/// Keys of the ROUGE kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rouge {
    /// Compare Porter stems
    pub stem: bool,
}

/// Keys of kind `process`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Program and arguments; no shell reads them
    pub command: Vec<String>,
    /// Responses per request
    pub batch_size: usize,
    /// Seconds for one reply
    pub timeout_secs: f64,
    /// Attempts after the first, each with a restarted program
    pub retries: usize,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            batch_size: 64,
            timeout_secs: 60.0,
            retries: 2,
        }
    }
}

/// Keys of kind `http`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub url: String,
    /// The environment variable that holds the key, sent as `Authorization: Bearer …`
    pub key_env: Option<String>,
    /// Responses per request
    pub batch_size: usize,
    /// Seconds for one reply
    pub timeout_secs: f64,
    /// Attempts after the first
    pub retries: usize,
    /// Seconds before the first retry; doubles each time, up to 30 s
    pub backoff_secs: f64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            url: String::new(),
            key_env: None,
            batch_size: 64,
            timeout_secs: 60.0,
            retries: 4,
            backoff_secs: 1.0,
        }
    }
}

impl Kind {
    /// Whether it compares the response with a reference answer.
    pub(crate) fn compares(&self) -> bool {
        use Kind::{Bleu, Rouge1, Rouge2, RougeL, RougeLsum};
        matches!(
            self,
            Bleu(_) | Rouge1(_) | Rouge2(_) | RougeL(_) | RougeLsum(_)
        )
    }

    /// Whether no response can score above 0 against this reference: it has no token or n-gram to
    /// compare. False for sources that do not compare.
    pub(crate) fn is_useless(&self, reference: &str) -> bool {
        match self {
            Self::Bleu(_) => sentence_bleu(reference, &[reference], true) == 0.0,
            Self::Rouge2(_) => rouge_n(2, reference, reference, false) == 0.0,
            Self::Rouge1(_) | Self::RougeL(_) | Self::RougeLsum(_) => {
                rouge_n(1, reference, reference, false) == 0.0
            }
            _ => false,
        }
    }

    pub(crate) fn in_unit_range(&self) -> bool {
        self.compares() || matches!(self, Self::Length(_) | Self::Format(_))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Length(rule) => rule.check(),
            Self::Format(rule) => rule.compile().map(drop),
            Self::Process(process) => process.check(),
            Self::Http(http) => http.check(),
            _ => Ok(()),
        }
    }
}

impl Process {
    fn check(&self) -> Result<(), String> {
        let Some(program) = self.command.first() else {
            return Err("needs a command, such as [\"python\", \"score.py\"]".into());
        };
        check_request(self.batch_size, self.timeout_secs, 0.0)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match program.contains('/') {
            true => Path::new(program).is_file(),
            false => std::env::split_paths(&path).any(|dir| dir.join(program).is_file()),
        };
        match found {
            true => Ok(()),
            false => Err(format!(
                "has command = [{program:?}, …], and there is no such program"
            )),
        }
    }
}

/// Of `host`, `host:port` or `[IPv6]:port`.
fn has_valid_port(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => true,
    }
}

impl Http {
    fn check(&self) -> Result<(), String> {
        let rest = self
            .url
            .strip_prefix("http://")
            .or(self.url.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match host {
            None | Some("") => {
                return Err("needs a url that begins with http:// or https:// and a host".into());
            }
            Some(host) if host.contains('@') => {
                return Err(
                    "has a password in its url; name an environment variable in key_env".into(),
                );
            }
            // A client may silently use another port instead of an invalid one.
            Some(host) if !has_valid_port(host) => {
                return Err("has a url whose port is not 1 to 65535".into());
            }
            Some(_) if has_secret(&self.url) => {
                return Err("has a key in its url; name an environment variable in key_env".into());
            }
            Some(_) => {}
        }
        check_request(self.batch_size, self.timeout_secs, self.backoff_secs)?;
        self.key().map(drop)
    }

    pub(crate) fn key(&self) -> Result<Option<String>, String> {
        let Some(name) = &self.key_env else {
            return Ok(None);
        };
        // What is not a variable's name may be the key itself, so the message does not repeat it.
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(of_name) {
            return Err("has a key_env that is not the name of an environment variable; give the name, not the key".into());
        }
        match std::env::var(name) {
            Ok(key) if !key.is_empty() => Ok(Some(key)),
            _ => Err(format!(
                "has key_env = {name:?}, and that variable is not set"
            )),
        }
    }
}

/// Whether the URL holds a secret: a field of its query or fragment with the name of one, or a part
/// that has the form of a key.
fn has_secret(url: &str) -> bool {
    let names = [
        "key",
        "token",
        "secret",
        "password",
        "auth",
        "sig",
        "signature",
    ];
    let begins = ["sk-", "sk_", "hf_", "ghp_", "gho_", "xoxb-", "AIza", "AKIA"];
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (_, fields) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let named = fields.split(['&', ';', '#', '?']).any(|field| {
        let name = field.split('=').next().unwrap_or_default().to_lowercase();
        names.iter().any(|word| name.ends_with(word))
    });
    let formed = rest
        .split(['/', '?', '#', '&', ';', '='])
        .any(|part| part.len() >= 10 && begins.iter().any(|begin| part.starts_with(begin)));
    named || formed
}

fn check_request(batch_size: usize, timeout_secs: f64, backoff_secs: f64) -> Result<(), String> {
    let day = 86_400.0;
    if batch_size == 0 {
        return Err("has batch_size = 0; a request needs responses".into());
    }
    if !(timeout_secs > 0.0 && timeout_secs <= day) {
        return Err(format!(
            "has timeout_secs = {timeout_secs}; give seconds, at most {day}"
        ));
    }
    if !(0.0..=day).contains(&backoff_secs) {
        return Err(format!(
            "has backoff_secs = {backoff_secs}; give seconds, at most {day}"
        ));
    }
    Ok(())
}
