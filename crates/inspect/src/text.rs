//! The report as text for people, 80 columns wide.

use crate::Stage;
use crate::conversations::ConversationFacts;
use crate::examples_text::put_example;
use crate::lengths_text::put_lengths;
use crate::page::{LABEL, MAX_LISTED, Page, counted};
use crate::refusal::{ignore_option, may_be_ignored};
use crate::report::{FileFacts, Report, SourceFacts, StageFacts, TemplateFacts};
use crate::safe_text::safe;
use crate::stages_text::put_stages;
use std::fmt::Write;

impl Report {
    /// The report as lines. `color`: what is learnt is coloured, else it stands in `⟦ ⟧`.
    pub fn text(&self, color: bool) -> String {
        let mut page = Page(String::new());
        self.put_files(&mut page);
        self.put_format(&mut page);
        put_stages(self, &mut page);
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
        if self.formats.is_empty() {
            page.put("format", "none fits; see below what was looked for");
        }
        for format in &self.formats {
            let (name, fields) = (&format.name, &format.fields);
            let by = match format.is_given {
                true => "given by --format".to_string(),
                false => {
                    let names = format.decided_by.join(", ");
                    format!("found by the fields of the first row: {names}")
                }
            };
            let files = match self.formats.len() {
                1 => String::new(),
                _ => match format.files {
                    1 => format!("; {}", format.first_file),
                    n => format!("; {n} files, the first: {}", format.first_file),
                },
            };
            page.put("format", &format!("{name} rows ({fields}), {by}{files}"));
        }
        if let Some(template) = &self.template {
            page.put("template", &template_text(template, self.stage));
        }
        for source in &self.mixture {
            let SourceFacts {
                path,
                rows,
                visits,
                share,
            } = source;
            let rows = counted(*rows, "row");
            let visits = counted(*visits, "visit");
            let text = format!(
                "{path}: {rows}, {visits} in an epoch, {:.1} %",
                share * 100.0
            );
            page.put("mixture", &text);
        }
    }

    pub(crate) fn main(&self) -> &StageFacts {
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
            let is_said = |why: &&String| {
                self.main()
                    .refused
                    .iter()
                    .any(|r| r.reason.contains(&***why))
            };
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
        self.put_turns(facts, page);
    }

    fn put_turns(&self, facts: &ConversationFacts, page: &mut Page) {
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
        let first = match facts.assistant_first {
            0 => String::new(),
            n => format!("; {n} with an assistant turn before the first question"),
        };
        page.put("turns", &format!("{turns}; {several}{first}"));
        let (learnt, context) = (facts.earlier_learnt, facts.earlier_context);
        if learnt + context > 0 {
            let all = counted(learnt + context, "earlier assistant turn");
            let becomes = match (self.stage, learnt, context) {
                (Stage::Sft, _, 0) => "all learnt, too".to_string(),
                (Stage::Sft, 0, _) => "context, not learnt".to_string(),
                (Stage::Sft, ..) => format!(
                    "{learnt} learnt, too, and {context} context (of weight 0, or without text)"
                ),
                _ => "context".to_string(),
            };
            page.put("", &format!("{all}: {becomes}"));
        }
        let text = match facts.with_system_prompt {
            0 => "no system prompts".to_string(),
            n => format!(
                "{} with a system prompt, {}",
                counted(n, "record"),
                counted(facts.distinct_system_prompts, "distinct text")
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
            return;
        }
        if let Some(first) = main.refused.first() {
            let first = &first.first;
            let named = |what: &'static str| {
                let fields = self
                    .fields
                    .iter()
                    .filter(move |field| field.becomes == what);
                fields.map(|field| field.name.clone())
            };
            let is_ignorable = |name: &String| {
                let field = self.fields.iter().find(|field| field.name == *name);
                let why = field.and_then(|field| field.why.as_deref());
                why.is_none_or(may_be_ignored)
            };
            let refused: Vec<String> = named("refused").filter(is_ignorable).collect();
            let ignored: Vec<String> = named("ignored").collect();
            let or = match refused.is_empty() {
                true => String::new(),
                false => format!("; the fields: {}", ignore_option(&ignored, &refused)),
            };
            page.put(
                "next",
                &format!("mend, remove or ignore what is refused, first {first}{or}"),
            );
            return;
        }
        let whole = self
            .lengths
            .as_ref()
            .and_then(|lengths| lengths.whole.as_ref());
        if let (Some(whole), true) = (whole, main.records > 0 && !main.takes) {
            let max = whole.max;
            page.put(
                "next",
                &format!("raise --max-len or split the rows: the longest has {max} tokens"),
            );
        }
    }
}

/// `chat (of the model)`, and what the stage would take by itself.
fn template_text(template: &TemplateFacts, stage: Stage) -> String {
    let of = match template.of {
        "run" => " (of the run)",
        "model" => " (of the model)",
        "given" => " (as set)",
        _ => " (the model has no chat template)",
    };
    let default = template.default.map(|default| {
        let name = stage.name();
        format!("; by itself wick {name} takes {default}, so the command below sets it")
    });
    format!("{}{of}{}", template.name, default.unwrap_or_default())
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
