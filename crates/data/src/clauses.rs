//! Where the clauses of an English text begin, found by punctuation and conjunctions instead of a
//! parser, and which tokens those positions fall on.

/// Words that open a clause.
const OPENERS: [&str; 20] = [
    "and",
    "but",
    "or",
    "so",
    "because",
    "although",
    "though",
    "while",
    "when",
    "where",
    "which",
    "who",
    "that",
    "if",
    "unless",
    "until",
    "since",
    "then",
    "however",
    "therefore",
];

const MARKS: [char; 6] = [',', ';', ':', '.', '!', '?'];
const CLOSERS: [char; 6] = ['"', '\'', ')', ']', '”', '’'];

/// Byte offsets at which clauses begin, in ascending order. The first is 0; an empty text has none.
///
/// A clause begins after `, ; : . ! ?` followed by white space (closing quotes and brackets may
/// stand between), at a line break, and before a word that opens a clause. No clause is blank. An
/// offset points to the white space before the clause, because tokens include it.
///
/// ```
/// let starts = data::clause_starts("It rains, so we stay.");
/// assert_eq!(starts, [0, 9]);
/// ```
pub fn clause_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    if !text.is_empty() {
        starts.push(0);
    }
    let mut last = 0;
    let is_blank = |text: &str| text.trim().is_empty();
    for (at, c) in text.char_indices().filter(|(_, c)| c.is_whitespace()) {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        let marked = before.trim_end_matches(CLOSERS).ends_with(MARKS);
        let opens = c == '\n' || marked || OPENERS.contains(&word(after).as_str());
        if opens && !is_blank(&text[last..at]) && !is_blank(after) {
            starts.push(at);
            last = at;
        }
    }
    starts
}

/// Which tokens begin a clause: those that contain the first byte of one. `offsets` are the byte
/// offsets at which tokens begin ([`crate::Encoder::offsets`]).
pub fn clause_tokens(offsets: &[usize], starts: &[usize]) -> Vec<bool> {
    let mut flags = vec![false; offsets.len()];
    for start in starts {
        let after = offsets.partition_point(|offset| offset <= start);
        if let Some(holder) = after.checked_sub(1) {
            flags[offsets.partition_point(|offset| *offset < offsets[holder])] = true;
        }
    }
    flags
}

/// The first word of a text, in lower case.
fn word(text: &str) -> String {
    let letters = text.chars().take_while(|c| c.is_alphabetic());
    letters.flat_map(char::to_lowercase).collect()
}
