//! `bench sizes`: the cost of our steps by length, batch, rank, samples and width. Each point is a
//! process of its own; its time is that of its fastest step.

use crate::figures::Figures;
use crate::setup::Common;
use crate::setup::Setup;
use crate::stage_run::StageRun;
use crate::{esrl, random_model, report, rows};
use anyhow::{Context, Result, ensure};
use evaluate::chart::{self, Panel};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Timed steps of each point, after one warm-up step
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// File of the plot
    #[arg(long, default_value = "docs/plots/cost.svg")]
    plot: PathBuf,
    #[command(flatten)]
    common: Common,
}

const LENGTHS: [usize; 5] = [128, 256, 512, 1024, 2048];
const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];
const RANKS: [usize; 5] = [4, 8, 16, 32, 64];
const SAMPLES: [usize; 4] = [1, 2, 4, 8];
const WIDTHS: [usize; 4] = [256, 512, 768, 1024];

/// Tokens of a row, unless the length varies.
const ROW: usize = 256;
const QV: &str = "r on q and v";
const ALL: &str = "r on all seven";

/// One quantity that varies, with its points.
struct Study {
    name: &'static str,
    x: &'static str,
    points: Vec<Point>,
}

/// One measured step.
struct Point {
    series: &'static str,
    x: usize,
    binary: &'static str,
    config: &'static str,
    sets: Vec<String>,
}

impl Point {
    /// An sft step of `batch` rows of `len` tokens, cut into micro-batches of `cut`.
    fn sft(series: &'static str, x: usize, len: usize, batch: usize, cut: usize) -> Self {
        let sets = [
            ("data.max_len", len),
            ("train.batch_size", batch),
            ("train.micro_batch_tokens", cut),
        ];
        Self {
            series,
            x,
            binary: "sft",
            config: "sft",
            sets: sets.map(|(key, value)| format!("{key}={value}")).to_vec(),
        }
    }

    fn with(mut self, sets: &[String]) -> Self {
        self.sets.extend_from_slice(sets);
        self
    }

    fn rl(series: &'static str, config: &'static str, key: &str, samples: usize) -> Self {
        Self {
            series,
            x: samples,
            binary: "esrl-rlhf",
            config,
            sets: vec![
                format!("algorithm.{key}={samples}"),
                "rollout.prompts=4".into(),
                "data.max_rows=4".into(),
            ],
        }
    }
}

fn studies(setup: &Setup, reward: &str) -> Vec<Study> {
    let step = *LENGTHS.last().expect("there are lengths");
    let lengths = LENGTHS.iter().flat_map(|&len| {
        [
            Point::sft("2,048 tokens a step", len, len, step / len, step),
            Point::sft("one row", len, len, 1, step),
        ]
    });
    let uncut = BATCHES.last().expect("there are batches") * ROW;
    let batches = BATCHES.iter().flat_map(|&batch| {
        [
            Point::sft("micro-batches of 1,024", batch, ROW, batch, 1024),
            Point::sft("one micro-batch", batch, ROW, batch, uncut),
        ]
    });
    let targets = [
        (QV, "\"q_proj\",\"v_proj\""),
        (
            ALL,
            "\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_proj\"",
        ),
    ];
    let ranks = RANKS.iter().flat_map(|&r| {
        targets.map(|(series, targets)| {
            let lora = [format!("lora.r={r}"), format!("lora.targets=[{targets}]")];
            Point::sft(series, r, ROW, 4, 1024).with(&lora)
        })
    });
    let prompts = format!("data.path={}", setup.rows().join("rl-1.json").display());
    let samples = SAMPLES.iter().flat_map(|&k| {
        let common = [reward.to_string(), prompts.clone()];
        [
            Point::rl("ESRL", "esrl", "k_max", k).with(&common),
            Point::rl("PPO", "ppo", "samples", k).with(&common),
        ]
    });
    let widths = WIDTHS.iter().map(|&width| {
        let source = format!("model.source={}", width_dir(setup, width).display());
        Point::sft(QV, width, ROW, 4, 1024).with(&[source])
    });
    vec![
        study("length", "tokens of a row", lengths),
        study("batch", "rows of 256 tokens", batches),
        study("rank", "rank of LoRA, 4 rows of 256 tokens", ranks),
        study("samples", "most samples of each of 4 prompts", samples),
        study("width", "width of 12 layers, 4 rows of 256 tokens", widths),
    ]
}

fn study(name: &'static str, x: &'static str, points: impl Iterator<Item = Point>) -> Study {
    let points = points.collect();
    Study { name, x, points }
}

fn width_dir(setup: &Setup, width: usize) -> PathBuf {
    setup.runs().join(format!("width-{width}"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let setup = args.common.setup(args.steps)?;
    setup.check(false)?;
    ensure!(
        args.plot
            .parent()
            .is_none_or(|dir| dir.as_os_str().is_empty() || dir.is_dir()),
        "--plot {}: its directory is not there",
        args.plot.display()
    );
    rows::write(&args.common.data, &setup.rows(), 1, 1)?;
    let most = BATCHES.iter().max().expect("there are batches");
    rows::write_long(&args.common.data, &setup.rows(), *most)?;
    let reward = esrl::reward_model(&setup)?;
    let long = format!("data.path={}", setup.rows().join("long.json").display());
    let studies = studies(&setup, &reward);
    let total: usize = studies.iter().map(|study| study.points.len()).sum();
    let mut progress = run::Progress::new("sizes", total as u64);
    let (mut n_done, mut all) = (0, Map::new());
    let mut panels = Vec::new();
    let mut text = String::from(
        "| by | of | at | seconds, least of the steps (median) | tokens/s | peak GB |\n|---|---|---|---|---|---|\n",
    );
    for study in &studies {
        let panel = |y: &str| Panel {
            x: study.x.to_string(),
            y: y.to_string(),
            from_zero: true,
            series: Vec::new(),
        };
        let (mut secs, mut memory) = (panel("seconds of a step, least"), panel("peak memory, GB"));
        let mut points: Vec<Value> = Vec::new();
        for point in &study.points {
            let what = format!("{} {} {}", study.name, point.series, point.x);
            let of = measure(&setup, study, point, &long).with_context(|| what.clone())?;
            n_done += 1;
            progress.update(n_done, 0, &what);
            // the smallest: other processes only add time
            secs.put(point.series, point.x as f64, of.least);
            memory.put(point.series, point.x as f64, of.peak_gb());
            let rate = of.tokens / of.least;
            text += &format!(
                "| {} | {} | {} | {:.2} ({:.2}) | {rate:.0} | {:.2} |\n",
                study.name,
                point.series,
                point.x,
                of.least,
                of.secs,
                of.peak_gb()
            );
            let mut figures = Map::new();
            figures.insert("series".into(), json!(point.series));
            figures.insert("at".into(), json!(point.x));
            of.write("ours", &mut figures);
            points.push(figures.into());
        }
        all.insert(study.name.into(), json!({ "x": study.x, "points": points }));
        panels.extend([secs, memory]);
    }
    progress.finish("");
    run::print(&text)?;
    let title = "What a step costs: SmolLM2-135M; random weights by width";
    run::atomic_write(&args.plot, chart::draw(title, &panels, &[])?.as_bytes())?;
    let file = report::write(&args.common.out, "-sizes", all, setup.threads)?;
    run::print(&format!("{}\n{}\n", file.display(), args.plot.display()))
}

/// Runs a process of `steps` + 1 steps. A model of another width is written first and deleted at
/// the end.
fn measure(setup: &Setup, study: &Study, point: &Point, long: &str) -> Result<Figures> {
    let steps = setup.steps + 1;
    let mut sets = match point.binary {
        "sft" => vec![long.to_string(), format!("train.max_steps={steps}")],
        _ => vec![format!("train.steps={steps}")],
    };
    sets.extend_from_slice(&point.sets);
    let made = (study.name == "width").then(|| width_dir(setup, point.x));
    if let Some(dir) = &made {
        let like = setup.model();
        random_model::write(&random_model::config_of_width(&like, point.x)?, &like, dir)?;
    }
    let run = StageRun {
        binary: point.binary,
        config: point.config,
        sets,
        cache: None,
    };
    let timing = run.time(setup);
    if let Some(dir) = &made {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(Figures::of(&[timing?]))
}
