//! `wick plot`: comparisons of several seeds, or learning curves, as an SVG.

use crate::chart::{self, Panel};
use crate::given_once::ensure_each_once;
use crate::output::ensure_parent;
use crate::seeds::seeds;
use crate::table::COLUMNS;
use anyhow::{Context, Result, bail, ensure};
use run::Replace;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The arguments of `wick plot`.
#[derive(Clone, Debug, clap::Args)]
pub struct PlotConfig {
    /// Directories that `wick compare` wrote, one per seed: plots points
    #[arg(
        long,
        num_args = 1..,
        value_name = "DIR",
        conflicts_with = "runs"
    )]
    pub compared: Vec<PathBuf>,
    /// Run directories: plots --metric over steps. Directories of the same name are seeds
    #[arg(long, num_args = 1.., value_name = "RUN", requires = "metric")]
    pub runs: Vec<PathBuf>,
    /// A metric of metrics.jsonl, for --runs
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,
    /// Columns of the comparison, one panel each: oracle, reward_normalised, kl_exact,
    /// length_tokens, samples_drawn, tokens_drawn, wall_hours, peak_memory_gb
    #[arg(long, num_args = 1.., value_name = "COLUMN", default_value = "oracle")]
    pub y: Vec<String>,
    /// Title of the picture
    #[arg(long, default_value = "")]
    pub title: String,
    /// Label of the X axis
    #[arg(long, default_value = "")]
    pub x: String,
    /// SVG file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing --out
    #[arg(long)]
    pub force: bool,
}

/// Writes the picture; returns a line that says where.
pub fn plot(config: &PlotConfig) -> Result<String> {
    ensure!(
        !config.compared.is_empty() || !config.runs.is_empty(),
        "nothing to plot; give --compared DIR that `wick compare` wrote, or --runs RUN --metric NAME"
    );
    ensure!(
        !config.out.is_dir(),
        "{} is a directory; --out is an SVG file",
        config.out.display()
    );
    run::ensure_new(&config.out, "--out", Replace::WithForce(config.force))?;
    ensure_parent(&config.out)?;
    let (panels, words) = if config.runs.is_empty() {
        points(config)?
    } else {
        (vec![curves(config)?], Vec::new())
    };
    let svg = chart::draw(&config.title, &panels, &words)
        .with_context(|| config.out.display().to_string())?;
    run::atomic_write(&config.out, svg.as_bytes())?;
    Ok(format!("written to {}\n", config.out.display()))
}

/// A panel per column, and the words that label X = 0, 1, … unless every X is a number.
fn points(config: &PlotConfig) -> Result<(Vec<Panel>, Vec<String>)> {
    let mut rows = Vec::new();
    for of_seed in seeds(&config.compared)? {
        // the SFT run, from which the others started, is no point
        rows.extend(of_seed.into_iter().filter(|row| row["stage"] != "sft"));
    }
    let split = |name: &str| {
        let (series, x) = name.split_once('@').unwrap_or(("", name));
        (series.to_string(), x.to_string())
    };
    let names: Vec<(String, String)> = rows
        .iter()
        .map(|row| split(row["name"].as_str().unwrap_or_default()))
        .collect();
    let mut words: Vec<String> = Vec::new();
    if names.iter().any(|(_, x)| x.parse::<f64>().is_err()) {
        for (_, x) in &names {
            if !words.contains(x) {
                words.push(x.clone());
            }
        }
    }
    let mut panels = Vec::new();
    for key in &config.y {
        let known = COLUMNS
            .iter()
            .find(|(_, place, ..)| place.split('/').nth(1) == Some(key));
        let (heading, place, factor, _) = known.with_context(|| {
            let all = COLUMNS.map(|(_, place, ..)| place.split('/').nth(1).unwrap_or_default());
            format!("--y {key} is not known; it is one of {}", all.join(", "))
        })?;
        let mut panel = Panel {
            x: config.x.clone(),
            y: heading.to_string(),
            from_zero: false,
            series: Vec::new(),
        };
        for (row, (name, x)) in rows.iter().zip(&names) {
            let Some(value) = row.pointer(place).and_then(|v| v.as_f64()) else {
                continue;
            };
            let x = match words.iter().position(|word| word == x) {
                Some(at) => at as f64,
                None => x.parse()?,
            };
            panel.put(name, x, value * factor);
        }
        ensure!(!panel.series.is_empty(), "--y {key}: no run has this value");
        panels.push(panel);
    }
    Ok((panels, words))
}

fn curves(config: &PlotConfig) -> Result<Panel> {
    let metric = config.metric.clone().context("--runs needs --metric")?;
    let x = if config.x.is_empty() {
        "step"
    } else {
        &config.x
    };
    let mut panel = Panel {
        x: x.to_string(),
        y: metric.clone(),
        from_zero: false,
        series: Vec::new(),
    };
    let mut logged = BTreeSet::new();
    ensure_each_once("--runs", &config.runs)?;
    for dir in &config.runs {
        let name = crate::policies::file_name(dir);
        for row in run::read_metrics(dir)? {
            logged.extend(row.metrics.keys().cloned());
            if let Some(value) = row.metrics.get(&metric) {
                panel.put(&name, row.step as f64, *value);
            }
        }
    }
    if panel.series.is_empty() {
        let known: Vec<&str> = logged.iter().map(String::as_str).collect();
        let near = run::nearest(&metric, &known).map(|near| format!("; did you mean {near}?"));
        bail!(
            "no run of --runs logged {metric}{}",
            near.unwrap_or_default()
        );
    }
    Ok(panel)
}
