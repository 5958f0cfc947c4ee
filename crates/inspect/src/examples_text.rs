//! Records in a report, with what is learnt of them.

use crate::examples::{ExampleView, Sequence};
use crate::page::{Page, counted};

/// What is learnt on a terminal.
const LEARNT: &str = "\x1b[30;42m";
const PLAIN: &str = "\x1b[0m";

/// The sequences of a record. `color`: what is learnt is coloured, else it stands in `⟦ ⟧`.
pub(crate) fn put_example(page: &mut Page, number: usize, example: &ExampleView, color: bool) {
    let n_sequences = example.sequences.len();
    for (i, sequence) in example.sequences.iter().enumerate() {
        let (name, verb) = match sequence.name.as_str() {
            "" if n_sequences > 1 => (format!(", answer {} of {n_sequences}", i + 1), "learnt"),
            "" => (String::new(), "learnt"),
            name => (format!(", {name}"), "compared"),
        };
        let tokens = sequence.tokens.map(|n| counted(n as u64, "token"));
        let counts = match (tokens, sequence.labels) {
            (Some(tokens), None | Some(0)) => format!(": {tokens}"),
            (Some(tokens), Some(labels)) => format!(": {tokens}, {labels} {verb}"),
            (None, _) => String::new(),
        };
        page.0.push('\n');
        page.put(
            &format!("example {number}"),
            &format!("{}{name}{counts}", example.place),
        );
        let text = rendered(sequence, color);
        for line in text.split('\n') {
            page.put_line(&format!("  {line}"));
        }
    }
    if let Some(reference) = &example.reference {
        for (i, line) in reference.split('\n').enumerate() {
            let label = if i == 0 { "reference answer: " } else { "" };
            page.put_line(&format!("  {label}{line}"));
        }
    }
}

/// The pieces; colour ends at the end of each line.
fn rendered(sequence: &Sequence, color: bool) -> String {
    let pieces = sequence.pieces.iter().map(|piece| {
        let text = &piece.text;
        match (piece.is_learnt, color) {
            (false, _) => text.clone(),
            (true, false) => format!("⟦{text}⟧"),
            (true, true) => {
                let lines = text
                    .split('\n')
                    .map(|line| format!("{LEARNT}{line}{PLAIN}"));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    });
    pieces.collect()
}
