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
                for other in other_modules(n_layers) {
                    if matches(&other)? {
                        return Err(format!(
                            "lora.targets: \"{text}\" also matches {other}; adapters change the matrices of layers only, and PEFT refuses most other modules"
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

/// Paths of what is no matrix of a layer.
fn other_modules(n_layers: usize) -> Vec<String> {
    let top = [
        "model",
        "model.embed_tokens",
        "model.layers",
        "model.norm",
        "model.rotary_emb",
        "lm_head",
    ];
    let of_layer = [
        "",
        ".self_attn",
        ".self_attn.q_norm",
        ".self_attn.k_norm",
        ".mlp",
        ".mlp.act_fn",
        ".input_layernorm",
        ".post_attention_layernorm",
    ];
    let of_layers = (0..n_layers)
        .flat_map(|layer| of_layer.map(|module| format!("model.layers.{layer}{module}")));
    top.map(String::from).into_iter().chain(of_layers).collect()
}

/// What Rust's expressions have and Python's do not, or read otherwise: operations on sets of
/// characters, and classes and anchors of other names.
const NOT_PYTHON: [&str; 12] = [
    "&&", "--", "~~", "[[", r"\p", r"\P", r"\h", r"\K", r"\z", r"\<", r"\>", r"\R",
];

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
        if let Some(other) = NOT_PYTHON.into_iter().find(|other| text.contains(other)) {
            return Err(wrong(&format!(
                "of Python's kind, which reads {other} otherwise"
            )));
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
