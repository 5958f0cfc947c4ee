//! Panels of series as one SVG. No font is needed: the viewer renders the text, and its size is
//! estimated.

use crate::stats;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// The values of one name at each X; several values at one X are seeds.
#[derive(Default)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, Vec<f64>)>,
}

/// One chart. A series name has the same colour in every panel.
pub struct Panel {
    /// Label of the X axis
    pub x: String,
    /// Label of the Y axis
    pub y: String,
    /// The Y axis begins at 0, for costs
    pub from_zero: bool,
    pub series: Vec<Series>,
}

impl Panel {
    /// Adds a value to the series of that name.
    pub fn put(&mut self, name: &str, x: f64, value: f64) {
        let at = self.series.iter().position(|s| s.name == name);
        let at = at.unwrap_or_else(|| {
            self.series.push(Series {
                name: name.to_string(),
                ..Series::default()
            });
            self.series.len() - 1
        });
        let points = &mut self.series[at].points;
        match points.iter_mut().find(|(known, _)| *known == x) {
            Some((_, values)) => values.push(value),
            None => points.push((x, vec![value])),
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
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

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The panels as SVG text. `words` label X = 0, 1, … if X is not a number.
pub fn draw(title: &str, panels: &[Panel], words: &[String]) -> Result<String> {
    svg(title, panels, words).map_err(|e| anyhow!("{e}"))
}

fn svg(
    title: &str,
    panels: &[Panel],
    words: &[String],
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let columns = panels.len().min(2) as u32;
    let rows = (panels.len() as u32).div_ceil(columns);
    let names = names(panels);
    // one legend for all panels, on the right, where it hides no curve
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
        let (top, body) = root.split_vertically(TITLE);
        top.draw(&Text::new(title, (12, 10), font))?;
        let (body, beside) = body.split_horizontally(PANEL.0 * columns);
        let areas = body.split_evenly((rows as usize, columns as usize));
        for (panel, area) in panels.iter().zip(&areas) {
            draw_panel(panel, &names, words, area)?;
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

/// The names of all series, each once, in the order of the panels.
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
    panel: &Panel,
    names: &[&str],
    words: &[String],
    area: &DrawingArea<SVGBackend, Shift>,
) -> Drawn {
    let all = || panel.series.iter().flat_map(|s| &s.points);
    let (x0, x1) = room(all().map(|(x, _)| *x), 0.06);
    let (low, y1) = room(all().flat_map(|(_, values)| values.iter().copied()), 0.12);
    let y0 = if panel.from_zero { 0.0 } else { low };
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
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(if words.is_empty() { 8 } else { words.len() + 2 })
        .x_label_formatter(&label)
        .y_label_formatter(&|y| number(*y))
        .y_labels(6)
        .x_desc(&panel.x)
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
            .map(|(x, values)| (*x, stats::mean(values)))
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

/// The range of the values, widened by a share of it on both sides.
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
