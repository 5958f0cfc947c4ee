//! All families of questions, one file per topic.

mod lists;
mod numbers;
mod things;
mod writing;

use crate::family::Family;

/// Every family, in the order in which tables print them.
pub static FAMILIES: [&Family; 18] = [
    &lists::REPEAT,
    &lists::REVERSE,
    &lists::FIRST,
    &lists::LAST,
    &lists::SORT_WORDS,
    &lists::COUNT,
    &lists::PATTERN,
    &lists::ODD_ONE,
    &numbers::SORT_NUMBERS,
    &numbers::SUM,
    &numbers::NEXT,
    &numbers::LARGER,
    &things::OPPOSITE,
    &things::KIND,
    &things::YES_NO,
    &writing::LIST,
    &writing::SENTENCE,
    &writing::POLITE,
];

/// The family of this name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|f| f.name == name)
}
