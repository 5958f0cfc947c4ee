//! `lora.targets`: which matrices an adapter changes, in PEFT's three forms of `target_modules`.

use crate::layer_spec::{LayerSpec, Module};
use fancy_regex::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

/// The adapted matrices of a model.
///
/// ```
/// use models::LoraTargets;
///
/// let names: LoraTargets = serde_json::from_str(r#"["q_proj", "v_proj"]"#).unwrap();
/// assert_eq!(names, LoraTargets::names(["q_proj", "v_proj"]));
/// let all: LoraTargets = serde_json::from_str(r#""all-linear""#).unwrap();
/// assert_eq!(all, LoraTargets::AllLinear);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoraTargets {
    /// Names of matrices, or ends of their paths: `q_proj`, `layers.3.mlp.up_proj`.
    Names(Vec<String>),
    /// `"all-linear"`: every matrix of every layer.
    AllLinear,
    /// A regular expression that a whole path must match.
    Pattern(String),
}

/// Modules of every model that a LoRA adapter does not change here.
const OTHERS: [&str; 6] = [
    "model",
    "model.embed_tokens",
    "model.layers.0",
    "model.layers.0.self_attn",
    "model.layers.0.input_layernorm",
    "lm_head",
];

const ALL_LINEAR: &str = "all-linear";

impl LoraTargets {
    /// Matrices by name.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// The matrices (layer, module), layer by layer. Each name must match one.
    pub(crate) fn of(
        &self,
        spec: &LayerSpec,
        n_layers: usize,
    ) -> Result<Vec<(usize, Module)>, String> {
        let names: Vec<_> = spec.modules().map(Module::name).collect();
        let choose = || format!("choose from {}, or \"{ALL_LINEAR}\"", names.join(", "));
        let mut all = Vec::with_capacity(n_layers * names.len());
        for layer in 0..n_layers {
            all.extend(
                spec.modules()
                    .map(|module| ((layer, module), spec.full_path(layer, module))),
            );
        }
        match self {
            Self::AllLinear => {}
            Self::Names(names) => {
                if names.is_empty() {
                    return Err(format!("lora.targets is empty; {}", choose()));
                }
                let unused = |name: &&String| !all.iter().any(|(_, path)| is_end_of(name, path));
                if let Some(name) = names.iter().find(unused) {
                    let choose = choose();
                    return Err(format!(
                        "lora.targets: \"{name}\" matches no layer; {choose}"
                    ));
                }
                all.retain(|(_, path)| names.iter().any(|name| is_end_of(name, path)));
            }
            Self::Pattern(text) => {
                let pattern = Pattern::whole(text).map_err(|e| format!("lora.targets: {e}"))?;
                let matches = |path: &str| {
                    let matched = pattern.matches(path);
                    matched.map_err(|e| format!("lora.targets: {e}"))
                };
                for other in OTHERS {
                    if matches(other)? {
                        return Err(format!(
                            "lora.targets: \"{text}\" also matches {other}, which is no linear map of a layer; PEFT could not load such an adapter"
                        ));
                    }
                }
                let mut matched = Vec::new();
                for (target, path) in &all {
                    if matches(path)? {
                        matched.push(*target);
                    }
                }
                if matched.is_empty() {
                    let first = all.first().map(|(_, path)| path.as_str());
                    return Err(format!(
                        "lora.targets: \"{text}\" matches no matrix as a regular expression, such as {}; {}",
                        first.unwrap_or_default(),
                        choose()
                    ));
                }
                return Ok(matched);
            }
        }
        Ok(all.into_iter().map(|(target, _)| target).collect())
    }

    /// `target_modules` of PEFT. `adapted`: names of the adapted matrices.
    pub(crate) fn to_peft(&self, adapted: Vec<&str>) -> serde_json::Value {
        match self {
            Self::Names(names) => names.clone().into(),
            Self::AllLinear => adapted.into(),
            Self::Pattern(text) => text.clone().into(),
        }
    }
}

/// Whether `name` is the path, or its end after a dot.
fn is_end_of(name: &str, path: &str) -> bool {
    match path.strip_suffix(name) {
        Some(start) => start.is_empty() || start.ends_with('.'),
        None => false,
    }
}

impl From<&str> for LoraTargets {
    fn from(text: &str) -> Self {
        match text {
            ALL_LINEAR => Self::AllLinear,
            // one name, as PEFT's users write it
            name if Module::by_name(name).is_some() => Self::Names(vec![name.into()]),
            pattern => Self::Pattern(pattern.into()),
        }
    }
}

impl Serialize for LoraTargets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Names(names) => names.serialize(serializer),
            Self::AllLinear => ALL_LINEAR.serialize(serializer),
            Self::Pattern(text) => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LoraTargets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Targets;
        impl<'de> Visitor<'de> for Targets {
            type Value = LoraTargets;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(
                    f,
                    "a list of names of matrices, \"{ALL_LINEAR}\" or a regular expression"
                )
            }

            fn visit_str<E>(self, text: &str) -> Result<LoraTargets, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<LoraTargets, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(LoraTargets::Names(names))
            }
        }
        deserializer.deserialize_any(Targets)
    }
}

/// A regular expression of Python's kind.
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// One that must match a whole path.
    fn whole(text: &str) -> Result<Self, String> {
        Self::compile(text, format!("^(?:{text})$"))
    }

    /// One that must match a path, or its end after a dot.
    pub fn of_end(text: &str) -> Result<Self, String> {
        Self::compile(text, format!(r"^(?:.*\.)?(?:{text})$"))
    }

    fn compile(text: &str, regex: String) -> Result<Self, String> {
        let wrong = |e: &dyn fmt::Display| format!("\"{text}\" is not a regular expression ({e})");
        Regex::new(text).map_err(|e| wrong(&e))?;
        // Rust's expressions intersect sets of characters by it, Python's do not
        if text.contains("&&") {
            return Err(wrong(&"Python has no &&"));
        }
        let built = RegexBuilder::new(&regex).backtrack_limit(100_000).build();
        let regex = built.map_err(|e| wrong(&e))?;
        Ok(Self {
            text: text.to_string(),
            regex,
        })
    }

    /// An error where the expression takes too long.
    pub fn matches(&self, path: &str) -> Result<bool, String> {
        let matched = self.regex.is_match(path);
        matched.map_err(|e| {
            format!(
                "\"{}\" on {path}: {e}; write it without nested repetitions",
                self.text
            )
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}
