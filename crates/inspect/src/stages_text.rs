//! What each stage would do with the files, in a report.

use crate::Stage;
use crate::page::{MAX_LISTED, Page, counted};
use crate::reasons::Reason;
use crate::report::{LengthReport, Report, StageFacts};
use data::TooLong;

/// A line for each stage, and what the one of the report refuses and drops.
pub(crate) fn put_stages(report: &Report, page: &mut Page) {
    for facts in &report.stages {
        page.put(facts.stage.name(), &stage_text(report, facts));
    }
    let main = report.main();
    put_reasons(page, "refused", &main.refused);
    put_reasons(page, "dropped", &main.dropped);
}

fn stage_text(report: &Report, facts: &StageFacts) -> String {
    let records = counted(facts.records, facts.stage.record());
    let n_refused: u64 = facts.refused.iter().map(|reason| reason.rows).sum();
    let is_main = facts.stage == report.stage;
    let too_long = match (&report.lengths, is_main) {
        (Some(lengths), true) => too_long_text(lengths, facts.stage),
        _ => String::new(),
    };
    match &facts.refused[..] {
        [] if facts.takes => format!("takes it: {records}{too_long}"),
        [] if facts.records > 0 => format!("stops: {records}{too_long}"),
        [] => "has nothing to learn from: every row is dropped".to_string(),
        [first, ..] => match other_kind(&first.reason) {
            Some(kind) if !is_main || facts.records == 0 => {
                let (name, needs) = (facts.stage.name(), facts.stage.record());
                let more = match is_main {
                    true => "; see refused",
                    false => "",
                };
                let these = match facts.records {
                    0 => "these",
                    _ => "some rows",
                };
                format!("no: {these} are {kind}; wick {name} needs {needs}s{more}")
            }
            _ if is_main => {
                let noun = match report.files.iter().any(|file| file.error.is_some()) {
                    true => "place",
                    false => "row",
                };
                let place = counted(n_refused, noun);
                format!("stops at {place}, see refused; the rest: {records}{too_long}")
            }
            _ if report.main().refused.contains(first) => {
                format!("stops as {} does, see refused", report.stage.name())
            }
            _ => {
                let name = facts.stage.name();
                let short = first.reason.split("; ").next().unwrap_or_default();
                format!("no: {short} (--stage {name} says more)")
            }
        },
    }
}

/// What rows hold that a stage refuses as a whole, by the reader's reason: `demonstrations`.
fn other_kind(reason: &str) -> Option<&str> {
    let kind = reason.strip_prefix("holds ")?.split(" (").next()?;
    Some(match kind {
        "preferences" => "pairs",
        other => other,
    })
}

/// `, of which 15 are dropped: longer than data.max_len = 256 (data.too_long)`
fn too_long_text(lengths: &LengthReport, stage: Stage) -> String {
    let (Some(longer), Some(partly)) = (lengths.records_longer, lengths.records_partly_longer)
    else {
        return String::new();
    };
    if longer + partly == 0 {
        return String::new();
    }
    let of = match lengths.counted < lengths.of {
        true => format!(", of which {longer} of {} tokenised", lengths.counted),
        false => format!(", of which {longer}"),
    };
    let becomes = match (lengths.too_long, longer) {
        (TooLong::Drop, 1) => " is dropped",
        (TooLong::Drop, _) => " are dropped",
        (TooLong::TruncateResponse, _) => " lose the end of the answer",
        (TooLong::Error, _) => " stop it",
    };
    let parts = match partly {
        0 => String::new(),
        n => format!(", and a part of {n} more"),
    };
    let setting = match stage {
        Stage::Rlhf => "",
        Stage::Sft | Stage::Rm => " (data.too_long)",
    };
    let (key, max_len) = (stage.max_len_key(), lengths.max_len);
    format!("{of}{becomes}{parts}: longer than {key} = {max_len}{setting}")
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
