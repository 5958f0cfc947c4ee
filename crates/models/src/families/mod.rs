//! The registry of model families. A family is one file and one line in [`FAMILIES`].

mod family;
mod llama;
mod qwen2;

pub use family::Family;
pub(crate) use family::{HeadRows, PreTokenizer, Split};

use crate::layer_spec::{LayerWidths, Projection};

/// Every supported family.
pub static FAMILIES: &[&Family] = &[&llama::LLAMA, &qwen2::QWEN2];

/// The first family for which `is` holds.
pub(crate) fn find(is: impl Fn(&Family) -> bool) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| is(family))
}

/// One name of each family, for messages.
pub(crate) fn names(name: impl Fn(&Family) -> &'static str) -> String {
    let names: Vec<_> = FAMILIES.iter().map(|family| name(family)).collect();
    names.join(", ")
}

/// The projection that has this Hugging Face path within a layer of any family.
pub(crate) fn projection_at(path: &str) -> Option<Projection> {
    FAMILIES.iter().find_map(|family| {
        let layer = (family.layer)(&LayerWidths::default());
        let mut all = Projection::ALL.into_iter();
        all.find(|projection| layer.path(*projection) == path)
    })
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
