//! The error for a row that is refused: every field that causes it, and the option that ignores
//! those fields.

use crate::shell::quoted;
use data::{FieldUse, ReadOptions};

/// What a stage advises, in the words of its settings.
const ADVICE: &str = "; remove such rows or the field, or set data.ignore";

/// Why a row is refused: `why`, or all fields because of which it is.
/// `unused`: those are to be ignored, too, where nothing may be lost.
pub(crate) fn reason(
    why: &str,
    fields: &[(String, FieldUse)],
    options: &ReadOptions,
    unused: &[&str],
) -> String {
    let refused = fields.iter().filter_map(|(name, becomes)| match becomes {
        FieldUse::Refused(why) => Some((name.as_str(), field_reason(why))),
        _ => None,
    });
    let (names, reasons): (Vec<&str>, Vec<&str>) = refused.unzip();
    if names.is_empty() {
        return why.to_string();
    }
    let ignorable = names
        .iter()
        .zip(&reasons)
        .filter(|(_, why)| may_be_ignored(why));
    let names: Vec<&str> = ignorable.map(|(name, _)| *name).collect();
    let (field, it) = match names.len() {
        0 => return reasons.join("; "),
        1 => ("field", "it"),
        _ => ("fields", "them"),
    };
    let ignore = ignore_option(&options.ignore, &[&names, unused].concat());
    format!(
        "{}; remove such rows or the {field}, or give {ignore} to use the rows without {it}",
        reasons.join("; ")
    )
}

/// Whether a field may be ignored: one that says which answers are bad may not.
pub(crate) fn may_be_ignored(why: &str) -> bool {
    !why.contains("; keep only the rows")
}

/// Why a field is refused, without advice.
pub(crate) fn field_reason(why: &str) -> &str {
    why.split(ADVICE).next().unwrap_or(why)
}

/// `--ignore id,label`: the fields that are ignored already, and more.
pub(crate) fn ignore_option<T: AsRef<str>>(given: &[String], more: &[T]) -> String {
    let mut names: Vec<&str> = given.iter().map(String::as_str).collect();
    for name in more.iter().map(AsRef::as_ref) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    format!("--ignore {}", quoted(&names.join(",")))
}
