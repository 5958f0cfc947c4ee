//! The list of methods, and what a metric means. Methods define their metrics in `algorithms`;
//! those of the stages and of the loop come from the tables of docs/metrics.md, which is compiled
//! in.

use anyhow::{Result, bail};

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// The registry of methods, one line each.
pub fn list() -> String {
    let entries = algorithms::registry();
    let width = entries.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let line = |e: &algorithms::Entry| format!("{:width$}  {} ({})\n", e.name, e.about, e.paper);
    entries.iter().map(line).collect()
}

/// One line on a metric of metrics.jsonl. An unknown name is an error that suggests the three
/// nearest.
pub fn explain(metric: &str) -> Result<String> {
    if let Some(definition) = algorithms::metric_definition(metric) {
        return Ok(format!("{metric}: {definition}\n"));
    }
    if let Some((_, definition)) = of_page().find(|(name, _)| is_of(metric, name)) {
        return Ok(format!("{metric}: {}\n", definition.replace('`', "")));
    }
    let mut known = algorithms::metric_names();
    known.extend(of_page().map(|(name, _)| name));
    let last = |name: &str| name.rsplit('/').next() == Some(metric);
    let mut near: Vec<String> = known
        .iter()
        .filter(|name| last(name))
        .map(|name| format!("{name:?}"))
        .take(3)
        .collect();
    known.retain(|name| !last(name));
    while let Some(name) = run::nearest(metric, &known).filter(|_| near.len() < 3) {
        near.push(format!("{name:?}"));
        known.retain(|other| *other != name);
    }
    bail!(
        "no metric is called {metric:?}; did you mean {}? All are in docs/metrics.md and docs/methods",
        near.join(", ")
    )
}

/// Names and definitions: the first cell of a row, which may hold several names, and the last.
fn of_page() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let definition = cells[cells.len() - 1];
        let names = cells[0].split('`').skip(1).step_by(2);
        names
            .map(move |name| (name, definition))
            .collect::<Vec<_>>()
    })
}

/// `name` may end in `<kind>`, which stands for any kind of reward.
fn is_of(metric: &str, name: &str) -> bool {
    match name.strip_suffix("<kind>") {
        Some(prefix) => metric
            .strip_prefix(prefix)
            .is_some_and(|kind| !kind.is_empty()),
        None => metric == name,
    }
}
