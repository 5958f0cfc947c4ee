//! The registry of model families. A family is one file and one line in [`FAMILIES`].

mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod windows;

use crate::shape::{Family, PreTokenizer};

/// Every supported family.
pub static FAMILIES: &[&Family] = &[
    &llama::LLAMA,
    &mistral::MISTRAL,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &smollm3::SMOLLM3,
    &phi3::PHI3,
];

/// The first family for which `is` holds.
pub(crate) fn find(is: impl Fn(&Family) -> bool) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| is(family))
}

/// One name of each family, for messages.
pub(crate) fn names(name: impl Fn(&Family) -> &'static str) -> String {
    let mut names: Vec<_> = FAMILIES.iter().map(|family| name(family)).collect();
    names.dedup();
    names.join(", ")
}

/// A pre-tokenizer that any family names. Models of one family may use another's.
pub(crate) fn pre_tokenizer(name: &str) -> Option<&'static PreTokenizer> {
    let all = FAMILIES.iter().flat_map(|f| f.gguf_pre_tokenizers);
    let mut named = all.filter(|p| p.names.contains(&name));
    named.next()
}

/// The first name of every known pre-tokenizer, for messages.
pub(crate) fn pre_tokenizer_names() -> String {
    let all = FAMILIES.iter().flat_map(|f| f.gguf_pre_tokenizers);
    let names: Vec<_> = all.map(|pre| pre.names[0]).collect();
    names.join(", ")
}
