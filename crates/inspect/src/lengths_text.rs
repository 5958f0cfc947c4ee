//! Lengths as a table and a histogram.

use crate::Stage;
use crate::lengths::LengthFacts;
use crate::page::{LABEL, Page, WIDTH};
use crate::report::LengthReport;

/// The statistics and the histogram.
pub(crate) fn put_lengths(page: &mut Page, lengths: &LengthReport, stage: Stage) {
    let unit = lengths.unit;
    let mut text = match unit {
        "tokens" => "in tokens".to_string(),
        _ => format!("in {unit}; --model MODEL counts tokens"),
    };
    if lengths.counted < lengths.of {
        let (n, all) = (lengths.counted, lengths.of);
        text += &format!("; of a sample: {n} of {all} records, at even distances");
    }
    page.put("lengths", &text);
    page.put_line(&format!(
        "{:<LABEL$}{:<8}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "", "min", "median", "mean", "p95", "max"
    ));
    let parts = [
        ("prompt", &lengths.prompt),
        ("answer", &lengths.answer),
        ("whole", &lengths.whole),
    ];
    for (name, facts) in parts {
        if let (Some(facts), true) = (facts, stage != Stage::Rlhf || name != "whole") {
            put_facts(page, name, facts);
        }
    }
    put_histogram(page, lengths);
    if let Some(n) = lengths.longer {
        let max_len = lengths.max_len;
        let all = lengths.whole.as_ref().map_or(0, |whole| whole.n);
        let key = stage.max_len_key();
        let text = format!("{n} of {all} sequences are longer than {key} = {max_len}");
        page.put("", &text);
    }
}

fn put_facts(page: &mut Page, name: &str, facts: &LengthFacts) {
    let LengthFacts {
        min,
        median,
        mean,
        p95,
        max,
        ..
    } = facts;
    page.put_line(&format!(
        "{:<LABEL$}{name:<8}{min:>9}{median:>9}{mean:>9.1}{p95:>9}{max:>9}",
        ""
    ));
}

fn put_histogram(page: &mut Page, lengths: &LengthReport) {
    let most = lengths
        .histogram
        .iter()
        .map(|bar| bar.rows)
        .max()
        .unwrap_or(0);
    let ranges = lengths
        .histogram
        .iter()
        .map(|bar| match bar.from == bar.to {
            true => bar.from.to_string(),
            false => format!("{}–{}", bar.from, bar.to),
        });
    let ranges: Vec<String> = ranges.collect();
    let longest = ranges.iter().map(|range| range.chars().count()).max();
    let range_width = longest.unwrap_or(0);
    let count_width = most.to_string().len();
    let room = WIDTH.saturating_sub(LABEL + range_width + count_width + 4);
    for (bar, range) in lengths.histogram.iter().zip(&ranges) {
        let n_blocks = (bar.rows as f64 / most.max(1) as f64 * room as f64).round() as usize;
        let n_blocks = n_blocks.max(usize::from(bar.rows > 0));
        let blocks = "█".repeat(n_blocks);
        let rows = bar.rows;
        page.put_line(&format!(
            "{:<LABEL$}{range:>range_width$}  {rows:>count_width$}  {blocks}",
            ""
        ));
    }
}
