//! `evaluate plot`: what a table of seeds or the curves of runs look like, as one SVG. No font is needed to write it: text is
//! left to whoever shows it, sizes are estimated.

use crate::seeds::{self, COLUMNS};
use anyhow::{Context, Result, bail, ensure};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct PlotConfig {
    /// Directories that `evaluate compare` wrote, one per seed: points
    #[arg(long, num_args = 1.., value_name = "DIR", conflicts_with = "runs", required_unless_present = "runs")]
    pub compared: Vec<PathBuf>,
    /// Run directories, those of one name are seeds of it: curves of --metric over steps
    #[arg(long, num_args = 1.., value_name = "RUN", requires = "metric")]
    pub runs: Vec<PathBuf>,
    /// A metric of metrics.jsonl, for --runs
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,
    /// Columns of the comparison, one panel each: oracle, reward_normalised, kl_exact, length_tokens, samples_drawn,
    /// tokens_drawn, wall_hours, peak_memory_gb
    #[arg(long, num_args = 1.., value_name = "COLUMN", default_value = "oracle")]
    pub y: Vec<String>,
    #[arg(long, default_value = "")]
    pub title: String,
    /// What X is
    #[arg(long, default_value = "")]
    pub x: String,
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// One name's values at each X, a value per seed.
#[derive(Default)]
struct Series {
    name: String,
    points: Vec<(f64, Vec<f64>)>,
}

struct Panel {
    y: String,
    series: Vec<Series>,
}

const PANEL: (u32, u32) = (440, 330);
const TITLE: u32 = 34;
const LEGEND_ROW: i32 = 18;
const COLORS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
    RGBColor(140, 86, 75),
    RGBColor(127, 127, 127),
];

/// Writes the picture; says where.
pub fn plot(config: &PlotConfig) -> Result<String> {
    let (panels, words) = if config.runs.is_empty() {
        points(config)?
    } else {
        (vec![curves(config)?], Vec::new())
    };
    let svg = draw(config, &panels, &words)
        .map_err(|e| anyhow::anyhow!("{}: {e}", config.out.display()))?;
    run::atomic_write(&config.out, svg.as_bytes())?;
    Ok(format!("{}\n", config.out.display()))
}

/// A panel per column, and the words that stand for X = 0, 1, … where X is not a number everywhere.
fn points(config: &PlotConfig) -> Result<(Vec<Panel>, Vec<String>)> {
    let mut rows = Vec::new();
    for dir in &config.compared {
        let of_seed = seeds::rows_of(dir)?;
        // what the others began as is no point of theirs
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
        let mut series: Vec<Series> = Vec::new();
        for (row, (name, x)) in rows.iter().zip(&names) {
            let Some(value) = row.pointer(place).and_then(|v| v.as_f64()) else {
                continue;
            };
            let x = match words.iter().position(|word| word == x) {
                Some(at) => at as f64,
                None => x.parse()?,
            };
            put(&mut series, name, x, value * factor);
        }
        ensure!(!series.is_empty(), "--y {key}: no run has it");
        panels.push(Panel {
            y: heading.to_string(),
            series,
        });
    }
    Ok((panels, words))
}

fn curves(config: &PlotConfig) -> Result<Panel> {
    let metric = config.metric.clone().context("--runs needs --metric")?;
    let mut series = Vec::new();
    for dir in &config.runs {
        let name = crate::policies::file_name(dir);
        for row in run::read_metrics(dir)? {
            if let Some(value) = row.metrics.get(&metric) {
                put(&mut series, &name, row.step as f64, *value);
            }
        }
    }
    if series.is_empty() {
        bail!("no run of --runs logged {metric}");
    }
    Ok(Panel { y: metric, series })
}

fn put(series: &mut Vec<Series>, name: &str, x: f64, value: f64) {
    let at = series.iter().position(|s| s.name == name);
    let at = at.unwrap_or_else(|| {
        series.push(Series {
            name: name.to_string(),
            ..Series::default()
        });
        series.len() - 1
    });
    let points = &mut series[at].points;
    match points.iter_mut().find(|(known, _)| *known == x) {
        Some((_, values)) => values.push(value),
        None => points.push((x, vec![value])),
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(
    config: &PlotConfig,
    panels: &[Panel],
    words: &[String],
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let columns = panels.len().min(2) as u32;
    let rows = (panels.len() as u32).div_ceil(columns);
    let names = names(panels);
    // one legend for all panels, beside them, where it hides no curve
    let legend = match names.len() {
        0 | 1 => 0,
        _ => 40 + 7 * names.iter().map(|name| name.len()).max().unwrap_or(0) as u32,
    };
    let mut svg = String::new();
    {
        let size = (PANEL.0 * columns + legend, PANEL.1 * rows + TITLE);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let font = ("sans-serif", 18).into_font().color(&BLACK);
        let (title, body) = root.split_vertically(TITLE);
        title.draw(&Text::new(config.title.clone(), (12, 10), font))?;
        let (body, beside) = body.split_horizontally(PANEL.0 * columns);
        let areas = body.split_evenly((rows as usize, columns as usize));
        for (panel, area) in panels.iter().zip(&areas) {
            draw_panel(config, panel, &names, words, area)?;
        }
        for (i, name) in names.iter().enumerate().filter(|_| legend > 0) {
            let y = 14 + LEGEND_ROW * i as i32;
            let line = [(4, y), (20, y)];
            beside.draw(&PathElement::new(line, color(i).stroke_width(3)))?;
            let font = ("sans-serif", 12).into_font().color(&BLACK);
            beside.draw(&Text::new(*name, (26, y - 5), font))?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// Of all series, each once, in the order of the panels.
fn names(panels: &[Panel]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    names
}

fn color(i: usize) -> RGBColor {
    COLORS[i % COLORS.len()]
}

fn draw_panel(
    config: &PlotConfig,
    panel: &Panel,
    names: &[&str],
    words: &[String],
    area: &DrawingArea<SVGBackend, Shift>,
) -> Drawn {
    let all = || panel.series.iter().flat_map(|s| &s.points);
    let (x0, x1) = room(all().map(|(x, _)| *x), 0.06);
    let (y0, y1) = room(all().flat_map(|(_, values)| values.iter().copied()), 0.12);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(18)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(x0..x1, y0..y1)?;
    let label = |x: &f64| match words.is_empty() {
        true => number(*x),
        false if (x - x.round()).abs() < 1e-6 && *x >= 0.0 => {
            words.get(x.round() as usize).cloned().unwrap_or_default()
        }
        false => String::new(),
    };
    let x_title = if config.metric.is_some() && config.x.is_empty() {
        "step"
    } else {
        &config.x
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(if words.is_empty() { 8 } else { words.len() + 2 })
        .x_label_formatter(&label)
        .y_label_formatter(&|y| number(*y))
        .y_labels(6)
        .x_desc(x_title)
        .y_desc(&panel.y)
        .label_style(("sans-serif", 12))
        .axis_desc_style(("sans-serif", 13))
        .draw()?;
    for series in &panel.series {
        let at = names.iter().position(|name| *name == series.name);
        let color = color(at.unwrap_or(0));
        let means: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|(x, values)| (*x, seeds::mean(values)))
            .collect();
        if words.is_empty() {
            chart.draw_series(LineSeries::new(means.clone(), color.stroke_width(2)))?;
        }
        let ranges = series.points.iter().map(|(x, values)| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            PathElement::new([(*x, low), (*x, high)], color.mix(0.5))
        });
        chart.draw_series(ranges)?;
        let dots = means.iter().map(|at| Circle::new(*at, 3, color.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// The values' range with a share of it to spare on both sides.
fn room(values: impl Iterator<Item = f64>, spare: f64) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let width = if high > low {
        high - low
    } else {
        low.abs().max(1.0)
    };
    (low - spare * width, high + spare * width)
}

/// `12k`, `40`, `0.25`: short enough for an axis.
fn number(value: f64) -> String {
    let text = match value.abs() {
        a if a >= 10_000.0 => return format!("{:.0}k", value / 1000.0),
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}
