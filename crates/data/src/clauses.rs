//! Where the clauses of a text begin: a stand-in for a parser.

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

/// Byte offsets at which clauses begin, ascending, 0 first (none for an empty text): after `, ; : . ! ?` where white space follows,
/// after a line break, and before a word that opens a clause. An offset stands before the white space that precedes the clause,
/// since tokens carry it in front.
pub fn clause_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    if !text.is_empty() {
        starts.push(0);
    }
    let mut previous = None;
    for (at, c) in text.char_indices() {
        let after_mark = previous.is_some_and(|p| ",;:.!?".contains(p)) && c.is_whitespace();
        let after_break = previous == Some('\n') && c != '\n';
        let opener = c == ' ' && OPENERS.contains(&word(&text[at + 1..]).as_str());
        if at > 0 && (after_mark || after_break || opener) {
            starts.push(at);
        }
        previous = Some(c);
    }
    starts
}

/// The first word, in lower case.
fn word(text: &str) -> String {
    let letters = text.chars().take_while(|c| c.is_alphabetic());
    letters.flat_map(char::to_lowercase).collect()
}
