//! Lines of a report: a label, and text that is wrapped beside it.

use crate::safe_text::safe;

pub(crate) const WIDTH: usize = 80;
pub(crate) const LABEL: usize = 11;

/// Files, fields and reasons that are listed.
pub(crate) const MAX_LISTED: usize = 12;

/// Labelled lines, wrapped.
pub(crate) struct Page(pub String);

impl Page {
    pub fn put(&mut self, label: &str, text: &str) {
        let text = safe(text).replace(['\n', '\t'], " ");
        let mut line = format!("{label:<LABEL$}");
        let mut n_words = 0;
        for word in text.split(' ') {
            let n_chars = line.chars().count() + usize::from(n_words > 0) + word.chars().count();
            if n_words > 0 && n_chars > WIDTH {
                self.put_line(&line);
                (line, n_words) = (" ".repeat(LABEL), 0);
            }
            if n_words > 0 {
                line.push(' ');
            }
            line.push_str(word);
            n_words += 1;
        }
        self.put_line(&line);
    }

    pub fn put_line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

/// `1 row`, `2 rows`
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
