//! Text of programs and servers, made safe for a terminal and for an error of one line.

/// At most `max_chars` characters of `text` as one line, without secrets and control characters.
pub(super) fn printable(text: &str, max_chars: usize) -> String {
    // What is cut away is not looked at, however long it is.
    let start: String = text.trim().chars().take(max_chars + 1).collect();
    let is_cut = start.chars().count() > max_chars;
    let shown = run::printable(&start);
    match is_cut {
        true => shown.chars().take(max_chars).chain(['…']).collect(),
        false => shown,
    }
}
