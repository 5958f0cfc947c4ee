//! From timings to figures: medians, ratios by round, and the two forms of the report.

use crate::machine::Rates;
use crate::rows;
use crate::work::{Place, Side, Timing, Work};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One work: each side's processes, in the order of the rounds.
pub(crate) struct Measured {
    name: &'static str,
    sides: Vec<Column>,
}

struct Column {
    side: Side,
    /// Median seconds of a step in each round
    rounds: Vec<f64>,
    /// Of all timed steps
    secs: f64,
    least: f64,
    most: f64,
    tokens_per_sec: Option<f64>,
    peak_gb: f64,
    phases: BTreeMap<String, f64>,
    /// Of one step, mean
    tokens: f64,
}

impl Measured {
    pub fn of(work: &Work, sides: Vec<(Side, Vec<Timing>)>) -> Self {
        Self {
            name: work.name,
            sides: sides
                .into_iter()
                .map(|(side, t)| Column::of(side, &t))
                .collect(),
        }
    }

    fn side(&self, side: Side) -> Option<&Column> {
        self.sides.iter().find(|column| column.side == side)
    }

    /// How many times as fast ours is: the median of the rounds' ratios, and the least and the largest of them.
    fn speedup(&self, other: &Column) -> Option<[f64; 3]> {
        let ours = self.side(Side::Ours)?;
        let mut ratios: Vec<f64> = other
            .rounds
            .iter()
            .zip(&ours.rounds)
            .map(|(o, s)| o / s)
            .collect();
        let middle = median(&mut ratios);
        Some([middle, ratios[0], ratios[ratios.len() - 1]])
    }
}

impl Column {
    /// The first step of each process does not count: it meets cold memory.
    fn of(side: Side, timings: &[Timing]) -> Self {
        let timed = |t: &Timing| t.secs[1..].to_vec();
        let mut all: Vec<f64> = timings.iter().flat_map(timed).collect();
        let secs = median(&mut all);
        let tokens: Vec<f64> = timings
            .iter()
            .flat_map(|t| t.tokens.iter().skip(1).copied())
            .collect();
        let tokens_sum: f64 = tokens.iter().sum();
        let mut phases = BTreeMap::new();
        for step in timings.iter().flat_map(|t| t.phases.iter().skip(1)) {
            for (phase, secs) in step {
                *phases.entry(phase.clone()).or_insert(0.0) += secs / all.len() as f64;
            }
        }
        Self {
            side,
            rounds: timings.iter().map(|t| median(&mut timed(t))).collect(),
            secs,
            least: all[0],
            most: all[all.len() - 1],
            tokens_per_sec: (tokens_sum > 0.0).then(|| tokens_sum / all.iter().sum::<f64>()),
            peak_gb: timings.iter().map(|t| t.peak_gb).fold(0.0, f64::max),
            phases,
            tokens: tokens_sum / all.len() as f64,
        }
    }
}

/// Sorts, and gives the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

pub(crate) struct Report {
    measured: Vec<Measured>,
    rates: Rates,
    /// Floating-point work of an SFT step in GF/s, as a share of the machine's rate
    matmul_share: Option<f64>,
    threads: usize,
}

impl Report {
    pub fn new(measured: Vec<Measured>, rates: Rates, place: &Place) -> Result<Self> {
        let sft = measured.iter().find(|m| m.name == "sft_step");
        let matmul_share = match sft.and_then(|m| m.side(Side::Ours)) {
            Some(ours) => {
                let labels = rows::labels_per_step(place, ours.rounds.len())?;
                let flops = useful_flops(&place.model(), ours.tokens, labels)?;
                Some(flops / ours.secs / 1e9 / rates.machine())
            }
            None => None,
        };
        Ok(Self {
            measured,
            rates,
            matmul_share,
            threads: place.threads,
        })
    }

    /// A table in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "| work | side | seconds (least – most) | tokens/s | peak GB | ours is faster by (least – most round) | ours needs of its memory |\n|---|---|---|---|---|---|---|\n",
        );
        for work in &self.measured {
            let ours_gb = work.side(Side::Ours).map(|ours| ours.peak_gb);
            for column in &work.sides {
                let rate = column
                    .tokens_per_sec
                    .map_or("".into(), |r| format!("{r:.0}"));
                let (faster, memory) = match column.side {
                    Side::Ours => ("".into(), "".into()),
                    _ => (
                        work.speedup(column)
                            .map_or("".into(), |[m, l, h]| format!("{m:.2}x ({l:.2} – {h:.2})")),
                        ours_gb.map_or("".into(), |gb| format!("{:.2}x", gb / column.peak_gb)),
                    ),
                };
                text += &format!(
                    "| {} | {} | {:.2} ({:.2} – {:.2}) | {rate} | {:.2} | {faster} | {memory} |\n",
                    work.name,
                    column.side.name(),
                    column.secs,
                    column.least,
                    column.most,
                    column.peak_gb
                );
            }
        }
        for work in &self.measured {
            let Some(ours) = work.side(Side::Ours).filter(|ours| !ours.phases.is_empty()) else {
                continue;
            };
            let phases = ours.phases.iter().filter(|(_, secs)| **secs > 0.001);
            let phases: Vec<String> = phases
                .map(|(phase, secs)| format!("{} {secs:.2} s", phase.trim_start_matches("time/")))
                .collect();
            text += &format!("\n{} by phase: {}\n", work.name, phases.join(", "));
        }
        let peer = self
            .rates
            .peer_gflops
            .map_or("not asked".into(), |r| format!("{r:.0}"));
        text += &format!(
            "\nf32 matrix product, {} threads: ours {:.0} GF/s, PyTorch {peer} GF/s\n",
            self.threads, self.rates.ours_gflops
        );
        if let Some(share) = self.matmul_share {
            text += &format!(
                "the SFT step's products run at {:.0} % of that, everything else in the step included\n",
                share * 100.0
            );
        }
        text
    }

    /// `<out>/<date>-<commit>.json`.
    pub fn write(&self, out: &Path) -> Result<PathBuf> {
        let mut all = Map::new();
        for work in &self.measured {
            let mut figures = Map::new();
            for column in &work.sides {
                let name = column.side.name();
                figures.insert(format!("{name}_secs"), json!(column.secs));
                figures.insert(
                    format!("{name}_secs_range"),
                    json!([column.least, column.most]),
                );
                figures.insert(format!("{name}_peak_gb"), json!(column.peak_gb));
                figures.insert(
                    format!("{name}_tokens_per_sec"),
                    json!(column.tokens_per_sec),
                );
                if let (Some([middle, least, most]), false) =
                    (work.speedup(column), column.side == Side::Ours)
                {
                    let key = match column.side {
                        Side::Peer => "speedup".to_string(),
                        _ => format!("{name}_speedup"),
                    };
                    figures.insert(format!("{key}_range"), json!([least, most]));
                    figures.insert(key, json!(middle));
                }
                if !column.phases.is_empty() {
                    figures.insert(format!("{name}_phases"), json!(column.phases));
                }
            }
            all.insert(work.name.into(), Value::Object(figures));
        }
        all.insert("matmul_share".into(), json!(self.matmul_share));
        all.insert("matmul".into(), json!(self.rates));
        all.insert("threads".into(), json!(self.threads));
        all.insert("cpu".into(), json!(run::cpu_model()));
        let commit = run::git_commit(&std::env::current_dir()?).unwrap_or_else(|| "unknown".into());
        all.insert("commit".into(), json!(commit));
        let date = run::rfc3339(std::time::SystemTime::now());
        let short = &commit[..commit.len().min(7)];
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let file = out.join(format!("{}-{short}.json", &date[..10]));
        let text = serde_json::to_string_pretty(&all)? + "\n";
        run::atomic_write(&file, text.as_bytes())?;
        Ok(file)
    }
}

/// Products that a step with frozen base weights cannot do without: 4 flops a weight and token (forward, and the gradient to
/// the input), the head's only where a label is. Attention and LoRA are left out.
fn useful_flops(model: &Path, tokens: f64, labels: f64) -> Result<f64> {
    let text = std::fs::read_to_string(model.join("config.json"))?;
    let config: Value = serde_json::from_str(&text)?;
    let of = |key: &str| {
        config[key]
            .as_f64()
            .with_context(|| format!("config.json has no {key}"))
    };
    let (d, ffn, heads) = (
        of("hidden_size")?,
        of("intermediate_size")?,
        of("num_attention_heads")?,
    );
    let (kv_heads, head_dim) = (
        of("num_key_value_heads")?,
        of("head_dim").unwrap_or(d / heads),
    );
    let layer = 2.0 * d * (heads + kv_heads) * head_dim + 3.0 * d * ffn;
    let blocks = of("num_hidden_layers")? * layer;
    Ok(4.0 * blocks * tokens + 4.0 * of("vocab_size")? * d * labels)
}
