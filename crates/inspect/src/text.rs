//! The report as text for people, 80 columns wide.

use crate::examples::{ExampleView, Sequence};
use crate::lengths_text::put_lengths;
use crate::page::{LABEL, Page, counted};
use crate::reasons::Reason;
use crate::report::{FileFacts, Report, StageFacts};
use crate::safe_text::safe;
use std::fmt::Write;

/// Files, fields and reasons that are listed.
const MAX_LISTED: usize = 12;

/// What is learnt on a terminal.
const LEARNT: &str = "\x1b[30;42m";
const PLAIN: &str = "\x1b[0m";

impl Report {
    /// The report as lines. `color`: what is learnt is coloured, else it stands in `⟦ ⟧`.
    pub fn text(&self, color: bool) -> String {
        let mut page = Page(String::new());
        self.put_files(&mut page);
        self.put_format(&mut page);
        self.put_stages(&mut page);
        self.put_fields(&mut page);
        self.put_rows(&mut page);
        if let Some(lengths) = &self.lengths {
            put_lengths(&mut page, lengths, self.stage);
        }
        for finding in &self.findings {
            page.put("note", finding);
        }
        for (i, example) in self.examples.iter().enumerate() {
            put_example(&mut page, i + 1, example, color);
        }
        page.0.push('\n');
        self.put_verdict(&mut page);
        page.0
    }

    fn put_files(&self, page: &mut Page) {
        for file in self.files.iter().take(MAX_LISTED) {
            page.put("file", &file_text(file));
        }
        if let Some(n) = self.files.len().checked_sub(MAX_LISTED).filter(|n| *n > 0) {
            page.put("", &format!("and {n} more files"));
        }
        for note in &self.notes {
            page.put("note", note);
        }
        let only = if self.is_beginning {
            " (no more were looked at: --rows)"
        } else {
            ""
        };
        page.put("rows", &format!("{}{only}", self.rows));
    }

    fn put_format(&self, page: &mut Page) {
        let Some(format) = &self.format else {
            page.put("format", "none fits; see below what was looked for");
            return;
        };
        let (name, fields) = (&format.name, &format.fields);
        let by = match format.is_given {
            true => "given by --format".to_string(),
            false => {
                let names = format.decided_by.join(", ");
                format!("found by the fields of the first row: {names}")
            }
        };
        page.put("format", &format!("{name} rows ({fields}), {by}"));
    }

    fn put_stages(&self, page: &mut Page) {
        for facts in &self.stages {
            let name = facts.stage.name();
            let records = counted(facts.records, facts.stage.record());
            let n_refused: u64 = facts.refused.iter().map(|reason| reason.rows).sum();
            let text = match &facts.refused[..] {
                [] if facts.takes => format!("takes it: {records}"),
                [] => "has nothing to learn from: every row is dropped".to_string(),
                [..] if facts.stage == self.stage => {
                    let place = counted(n_refused, self.place());
                    format!("stops at {place}, see refused; the rest: {records}")
                }
                [first, ..] => {
                    let reason = first.reason.split("; looked for").next();
                    format!("refuses it: {}", reason.unwrap_or_default())
                }
            };
            page.put(name, &text);
        }
        let main = self.main();
        put_reasons(page, "refused", &main.refused);
        put_reasons(page, "dropped", &main.dropped);
    }

    /// Where a stage stops.
    fn place(&self) -> &'static str {
        match self.files.iter().any(|file| file.error.is_some()) {
            true => "place",
            false => "row",
        }
    }

    fn main(&self) -> &StageFacts {
        &self.stages[self.stage as usize]
    }

    fn put_fields(&self, page: &mut Page) {
        let shown = &self.fields[..self.fields.len().min(MAX_LISTED)];
        let longest = shown
            .iter()
            .map(|field| safe(&field.name).chars().count())
            .max();
        let width = longest.unwrap_or(0).min(30);
        for (i, field) in shown.iter().enumerate() {
            let label = if i == 0 { "fields" } else { "" };
            let name = safe(&field.name);
            let rows = counted(field.rows, "row");
            page.put(label, &format!("{name:<width$}  {rows}, {}", field.becomes));
            let is_said = |why: &&String| self.main().refused.iter().any(|r| r.reason == **why);
            if let Some(why) = field.why.as_ref().filter(|why| !is_said(why)) {
                page.put("", why);
            }
        }
        let n_left = (self.fields.len() - shown.len()) as u64;
        if n_left > 0 {
            page.put("", &format!("and {}", counted(n_left, "other field")));
        }
        if self.further_fields > 0 {
            let n = self.further_fields;
            page.put(
                "",
                &format!("names that differ from row to row were met {n} times"),
            );
        }
    }

    /// What concerns the rows beside each other.
    fn put_rows(&self, page: &mut Page) {
        let repeated = &self.duplicates;
        if repeated.repeated_prompts + repeated.repeated_rows == 0 {
            page.put("repeated", "no prompt and no row is there twice");
        }
        for (n, first, what) in [
            (
                repeated.repeated_prompts,
                &repeated.first_repeated_prompt,
                "whose prompt an earlier row has",
            ),
            (
                repeated.repeated_rows,
                &repeated.first_repeated_row,
                "the same as an earlier one",
            ),
        ] {
            if let Some(first) = first {
                let rows = counted(n, "row");
                page.put("repeated", &format!("{rows} {what}; the first: {first}"));
            }
        }
        if let Some(overlap) = &self.overlap {
            let text = format!(
                "{} of the {} in {} are here, too",
                overlap.shared,
                counted(overlap.prompts, "prompt"),
                overlap.with
            );
            page.put("overlap", &text);
            overlap.first.iter().for_each(|first| page.put("", first));
        }
        let held = &self.held_out;
        if repeated.distinct_prompts > 0 {
            let text = format!(
                "{} of {} by default ({:.0} %, data.held_out)",
                held.prompts,
                counted(repeated.distinct_prompts, "different prompt"),
                held.share * 100.0
            );
            page.put("held out", &text);
        }
        let Some(facts) = &self.conversations else {
            return;
        };
        let several = match facts.multi_turn {
            0 => "none has several questions".to_string(),
            n => format!("{n} with several questions"),
        };
        let turns = match facts.fewest_turns == facts.most_turns {
            true => format!("{} in each record", facts.most_turns),
            false => format!(
                "{} to {} in a record, {} in the median",
                facts.fewest_turns, facts.most_turns, facts.median_turns
            ),
        };
        let text = format!("{turns}; {several}");
        page.put("turns", &text);
        let text = match facts.with_system_prompt {
            0 => "no system prompts".to_string(),
            n => format!(
                "{} with a system prompt, {} of them different",
                counted(n, "record"),
                facts.distinct_system_prompts
            ),
        };
        page.put("system", &text);
    }

    /// Which stages take the files, and the command to run.
    fn put_verdict(&self, page: &mut Page) {
        let names = |takes: bool| {
            let stages = self.stages.iter().filter(|facts| facts.takes == takes);
            let names: Vec<String> = stages
                .map(|facts| format!("wick {}", facts.stage.name()))
                .collect();
            names
        };
        let text = match (&names(true)[..], &names(false)[..]) {
            ([], _) => "no stage takes these rows as they are".to_string(),
            (yes, []) => format!("taken by {}", yes.join(", ")),
            (yes, no) => format!("taken by {}; not by {}", yes.join(", "), no.join(", ")),
        };
        page.put("verdict", &text);
        let main = self.main();
        if let Some(command) = &main.command {
            // in one line, to be copied
            let _ = writeln!(page.0, "{:<LABEL$}{}", "next", safe(command));
        } else if let Some(first) = main.refused.first() {
            let first = &first.first;
            page.put(
                "next",
                &format!("mend, remove or ignore what is refused, first {first}"),
            );
        }
    }
}

fn file_text(file: &FileFacts) -> String {
    let mut parts = Vec::new();
    let what = file
        .container
        .clone()
        .unwrap_or_else(|| "of unknown kind".to_string());
    match &file.compression {
        Some(compression) => parts.push(format!("{what} in {compression}")),
        None => parts.push(what),
    }
    parts.extend(file.bytes.map(size));
    parts.push(counted(file.rows, "row"));
    let text = format!("{}: {}", file.path, parts.join(", "));
    match &file.error {
        None => text,
        Some(error) => format!("{text}; what follows is not read: {error}"),
    }
}

/// `12 bytes`, `3.4 kB`
fn size(n_bytes: u64) -> String {
    let n = n_bytes as f64;
    match n_bytes {
        0..1000 => format!("{n_bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n / 1e6),
        _ => format!("{:.1} GB", n / 1e9),
    }
}

fn put_reasons(page: &mut Page, label: &str, reasons: &[Reason]) {
    for reason in reasons.iter().take(MAX_LISTED) {
        let Reason {
            reason,
            rows,
            first,
        } = reason;
        page.put(label, &format!("{rows}: {reason}; the first: {first}"));
    }
    if let Some(n) = reasons.len().checked_sub(MAX_LISTED).filter(|n| *n > 0) {
        page.put("", &format!("and {n} more reasons"));
    }
}

fn put_example(page: &mut Page, number: usize, example: &ExampleView, color: bool) {
    for sequence in &example.sequences {
        let name = match sequence.name.as_str() {
            "" => String::new(),
            name => format!(", {name}"),
        };
        let counts = match (sequence.tokens, sequence.labels) {
            (Some(tokens), Some(labels)) => {
                format!(": {}, {labels} learnt", counted(tokens as u64, "token"))
            }
            _ => String::new(),
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
