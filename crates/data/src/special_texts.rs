//! The tokenizer's special tokens as they may stand in the text of data, left over from a template
//! or from another trainer.

use std::collections::BTreeSet;

/// The texts of the special tokens, of BOS and of the tokens that end an answer.
#[derive(Clone)]
pub(crate) struct SpecialTexts {
    /// The longest first.
    texts: Vec<String>,
    first_letters: BTreeSet<char>,
}

impl SpecialTexts {
    pub fn new(mut texts: Vec<String>) -> Self {
        texts.retain(|text| !text.trim().is_empty());
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self {
            first_letters: texts
                .iter()
                .filter_map(|text| text.chars().next())
                .collect(),
            texts,
        }
    }

    /// Those that stand in a text.
    pub fn within(&self, text: &str) -> BTreeSet<String> {
        let letters = text.char_indices();
        let places = letters.filter(|(_, c)| self.first_letters.contains(c));
        let at = |place: usize| self.texts.iter().find(|t| text[place..].starts_with(*t));
        places.filter_map(|(place, _)| at(place).cloned()).collect()
    }

    /// A text without those at its end and without white space there, and which they were.
    pub fn split_end<'a>(&self, text: &'a str) -> (&'a str, BTreeSet<String>) {
        let (mut rest, mut found) = (text.trim_end(), BTreeSet::new());
        while let Some(end) = self.texts.iter().find(|end| rest.ends_with(*end)) {
            rest = rest[..rest.len() - end.len()].trim_end();
            found.insert(end.clone());
        }
        (rest, found)
    }
}
