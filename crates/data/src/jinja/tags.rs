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
    /// Their text stands between marks of this number.
    Marked(u32),
}

/// A filter that puts the marks around a text.
pub(super) const FILTER: &str = "between_generation_marks";

/// Noncharacters of Unicode around a number.
fn begin(number: u32) -> String {
    format!("\u{fdd0}{number}\u{fdd1}")
}

fn end(number: u32) -> String {
    format!("\u{fdd1}{number}\u{fdd0}")
}

static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("a regular expression")
});

/// Whether a template has the blocks.
pub(crate) fn has_generation_tags(source: &str) -> bool {
    TAG.is_match(source)
}

impl Tags {
    /// Marks that are in none of the texts.
    pub fn not_in<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let is_in = |mark: &str| texts.clone().any(|text| text.contains(mark));
        let free = |number: &u32| !is_in(&begin(*number)) && !is_in(&end(*number));
        let number = (0..).find(free).expect("no text has every number");
        Self::Marked(number)
    }

    /// The text of a block between its marks.
    pub fn around(self, text: String) -> String {
        match self {
            Self::Ignored => text,
            Self::Marked(number) => format!("{}{text}{}", begin(number), end(number)),
        }
    }

    /// The text without its marks, and what was between them.
    pub fn split(self, marked: &str) -> Result<Tagged> {
        let Self::Marked(number) = self else {
            return Ok((marked.to_string(), Vec::new()));
        };
        let (begin, end) = (begin(number), end(number));
        let nested = "chat template: its {% generation %} blocks are inside each other";
        let (mut text, mut spans) = (String::with_capacity(marked.len()), Vec::new());
        let mut rest = marked;
        while let Some((before, after)) = rest.split_once(&begin) {
            let inside = after.split_once(&end);
            let inside = inside.filter(|(inside, _)| !inside.contains(&begin));
            let (inside, after) = inside.ok_or_else(|| Error(nested.into()))?;
            text.push_str(before);
            let start = text.len();
            text.push_str(inside);
            spans.push(start..text.len());
            rest = after;
        }
        text.push_str(rest);
        Ok((text, spans))
    }

    /// The source with blocks that the engine knows. Any spacing and whitespace control is kept.
    pub fn put_into(self, source: &str) -> String {
        let with = |found: &regex::Captures| {
            let block = match (self, found.get(2)) {
                (Self::Ignored, None) => "if true".to_string(),
                (Self::Ignored, Some(_)) => "endif".to_string(),
                (Self::Marked(_), None) => format!("filter {FILTER}"),
                (Self::Marked(_), Some(_)) => "endfilter".to_string(),
            };
            format!("{{%{} {block} {}%}}", &found[1], &found[3])
        };
        TAG.replace_all(source, with).into_owned()
    }
}
