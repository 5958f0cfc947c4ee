//! `{% generation %}` blocks, with which a template marks the text that the assistant writes, for
//! transformers' `return_assistant_tokens_mask`. They print nothing.

use crate::{Error, Result};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A text, and the ranges of bytes in it that the blocks mark.
pub(crate) type Tagged = (String, Vec<Range<usize>>);

/// What becomes of the blocks.
#[derive(Clone, Copy)]
pub(super) enum Tags {
    /// They mark nothing.
    Ignored,
    /// Their text stands between [`BEGIN`] and [`END`].
    Marked,
}

/// A filter that puts the marks around a text.
pub(super) const FILTER: &str = "between_generation_marks";

// Noncharacters of Unicode, which texts do not contain.
const BEGIN: &str = "\u{fdd0}\u{fdd1}";
const END: &str = "\u{fdd1}\u{fdd0}";

static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("a regular expression")
});

/// Whether a template has the blocks.
pub(crate) fn has_generation_tags(source: &str) -> bool {
    TAG.is_match(source)
}

impl Tags {
    /// The source with blocks that the engine knows. Any spacing and whitespace control is kept.
    pub fn put_into(self, source: &str) -> String {
        let with = |found: &regex::Captures| {
            let block = match (self, found.get(2)) {
                (Self::Ignored, None) => "if true".to_string(),
                (Self::Ignored, Some(_)) => "endif".to_string(),
                (Self::Marked, None) => format!("filter {FILTER}"),
                (Self::Marked, Some(_)) => "endfilter".to_string(),
            };
            format!("{{%{} {block} {}%}}", &found[1], &found[3])
        };
        TAG.replace_all(source, with).into_owned()
    }
}

/// The text between marks.
pub(super) fn between_marks(text: String) -> String {
    format!("{BEGIN}{text}{END}")
}

/// The text without its marks, and what was between them.
pub(super) fn split(marked: &str) -> Result<Tagged> {
    let (mut text, mut spans) = (String::with_capacity(marked.len()), Vec::new());
    let mut rest = marked;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (inside, after) = after.split_once(END).ok_or_else(|| {
            Error("chat template: its {% generation %} blocks are inside each other".into())
        })?;
        text.push_str(before);
        let start = text.len();
        text.push_str(inside);
        spans.push(start..text.len());
        rest = after;
    }
    text.push_str(rest);
    Ok((text, spans))
}
