//! Translates serde's errors about settings for users: the dotted key, what is wrong, what is
//! expected.

use crate::suggest::{nearest, suggest};

/// An error about one key of the settings.
pub(crate) struct Problem {
    /// Dotted
    pub key: String,
    pub text: String,
}

/// Translates an error of serde.
///
/// `at` is the key of the table that was parsed (empty for all settings), `path` the path inside it
/// as serde_path_to_error gives it, `message` serde's own message.
pub(crate) fn explain(at: &str, path: &str, message: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    let here = join(at, path);
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_field(&here, rest);
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let key = join(&here, quoted(rest).first().copied().unwrap_or_default());
        return Problem {
            text: format!("{key:?} is missing"),
            key,
        };
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return unknown_variant(here, rest);
    }
    let complaint = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    let text = match complaint.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let found = found.replace('`', "");
            format!(
                "{here:?} is {}, expected {}",
                article(&found),
                plain_type(expected)
            )
        }
        None if here.is_empty() => message.to_string(),
        None => format!("{here:?}: {message}"),
    };
    Problem { key: here, text }
}

/// `rest` is the end of serde's message: "`lrr`, expected one of `lr`, `schedule`", "…, expected
/// `a` or `b`" or "…, there are no fields".
fn unknown_field(here: &str, rest: &str) -> Problem {
    let names = quoted(rest);
    let (wrong, known) = names
        .split_first()
        .map_or(("", &[][..]), |(wrong, known)| (*wrong, known));
    // The path may or may not end with the key itself.
    let parent = here
        .strip_suffix(wrong)
        .map_or(here, |p| p.strip_suffix('.').unwrap_or(p));
    let key = join(parent, wrong);
    let text = match suggest(wrong, known) {
        Some(near) => format!(
            "unknown key {key:?}; did you mean {:?}?",
            join(parent, &near)
        ),
        None if known.is_empty() => format!("unknown key {key:?}; nothing can be set there"),
        None => format!(
            "unknown key {key:?}; the keys there are {}",
            known.join(", ")
        ),
    };
    Problem { key, text }
}

fn unknown_variant(here: String, rest: &str) -> Problem {
    let names = quoted(rest);
    let (wrong, known) = names
        .split_first()
        .map_or(("", &[][..]), |(wrong, known)| (*wrong, known));
    let list: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    let hint = match nearest(wrong, known) {
        Some(near) if known.len() > 3 => format!("; did you mean {near:?}?"),
        _ => String::new(),
    };
    Problem {
        text: format!(
            "{here:?} is {wrong:?}, expected one of {}{hint}",
            list.join(", ")
        ),
        key: here,
    }
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn join(parent: &str, key: &str) -> String {
    match (parent.is_empty(), key.is_empty()) {
        (true, _) => key.to_string(),
        (_, true) => parent.to_string(),
        _ => format!("{parent}.{key}"),
    }
}

fn article(found: &str) -> String {
    let kinds = [
        "string", "boolean", "map", "sequence", "floating", "integer",
    ];
    let is_kind = found
        .split(' ')
        .next()
        .is_some_and(|word| kinds.contains(&word));
    if is_kind {
        format!("the {found}")
    } else {
        found.to_string()
    }
}

/// A Rust type in words of TOML.
fn plain_type(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, 0 or more",
        "isize" | "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        "path string" => "a path (a string)",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
