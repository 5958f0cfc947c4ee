//! The report of `bench compare`: Markdown tables and a JSON file. Each of our settings is compared
//! with the fastest setting of each peer that does the same work.

use crate::esrl;
use crate::figures::Figures;
use crate::machine::{Cpu, Rates};
use crate::probe::{self, Probe};
use crate::report;
use crate::setup::Setup;
use crate::side::{Ours, Program, Setting, Side};
use crate::trained::Trained;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One workload with the figures of each side.
pub(crate) struct Measured {
    pub name: &'static str,
    pub sides: Vec<(Side, Figures)>,
    pub probes: Vec<Probe>,
    /// What every side trained on in each round
    pub trained: Vec<Trained>,
    /// Learnt tokens of a step
    pub labels: f64,
}

impl Measured {
    fn ours(&self) -> impl Iterator<Item = (&Ours, &Figures)> {
        self.sides.iter().filter_map(|(side, of)| match side {
            Side::Ours(ours) => Some((ours, of)),
            Side::Peer(..) => None,
        })
    }

    /// The fastest setting of each program that compares with ours.
    fn beside(&self, ours: &Ours) -> Vec<(Program, Setting, &Figures)> {
        let mut fastest: Vec<(Program, Setting, &Figures)> = Vec::new();
        for (side, of) in &self.sides {
            let Side::Peer(program, setting) = *side else {
                continue;
            };
            if !ours.compares_with(setting) {
                continue;
            }
            match fastest.iter_mut().find(|(known, ..)| *known == program) {
                Some(known) if of.secs < known.2.secs => *known = (program, setting, of),
                Some(_) => {}
                None => fastest.push((program, setting, of)),
            }
        }
        fastest
    }

    /// Rows of the first table.
    fn text(&self) -> String {
        let mut text = String::new();
        let secs = |of: &Figures| format!("{:.2} ({:.2} – {:.2})", of.secs, of.least, of.most);
        for (ours, of) in self.ours() {
            let first = format!("| {} | {} | {} |", self.name, ours.name(), secs(of));
            let beside = self.beside(ours);
            if beside.is_empty() {
                text += &format!("{first} | | | {:.2} |\n", of.peak_gb());
            }
            for (program, setting, theirs) in beside {
                let [middle, least, most] = theirs.time_over(of);
                let (mine, yours) = (of.peak_gb(), theirs.peak_gb());
                text += &format!(
                    "{first} {}, {} | {} | {middle:.2} ({least:.2} – {most:.2}) | {mine:.2} : {yours:.2} = {:.2} |\n",
                    program.name(),
                    setting.name(),
                    secs(theirs),
                    mine / yours
                );
            }
        }
        text
    }

    fn json(&self) -> Value {
        let mut all = Map::new();
        for (side, of) in &self.sides {
            let mut figures = Map::new();
            of.write("", &mut figures);
            let Side::Ours(ours) = side else {
                all.insert(side.name(), figures.into());
                continue;
            };
            for (program, setting, theirs) in self.beside(ours) {
                let [middle, least, most] = theirs.time_over(of);
                let name = format!("faster_than_{}", program.name());
                let ratio = json!({
                    "setting": setting.name(), "ratio": middle, "range": [least, most],
                    "memory": of.peak_gb() / theirs.peak_gb(),
                });
                figures.insert(name, ratio);
            }
            all.insert(side.name(), figures.into());
        }
        all.insert("settings".into(), probe::json(&self.probes));
        all.insert("trained".into(), json!(self.trained));
        Value::Object(all)
    }
}

/// All figures of a comparison.
pub(crate) struct Report {
    measured: Vec<Measured>,
    esrl: Option<esrl::Report>,
    rates: Rates,
    cpu: Cpu,
    /// GF/s of the products that an SFT step cannot do without, for each of our sides
    sft_gflops: Vec<(String, f64)>,
    threads: usize,
    held_to: &'static str,
}

impl Report {
    pub fn new(
        measured: Vec<Measured>,
        esrl: Option<esrl::Report>,
        rates: Rates,
        setup: &Setup,
    ) -> Result<Self> {
        let mut sft_gflops = Vec::new();
        for of in measured.iter().filter(|m| m.name == "sft_step") {
            for (ours, figures) in of.ours() {
                let flops = useful_flops(&setup.model(), figures.tokens, of.labels)?;
                sft_gflops.push((ours.name(), flops / figures.secs / 1e9));
            }
        }
        Ok(Self {
            measured,
            esrl,
            rates,
            cpu: Cpu::current(),
            sft_gflops,
            threads: setup.threads,
            held_to: setup.simd.map_or("", |simd| simd.name()),
        })
    }

    /// Tables in Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.cpu);
        if !self.held_to.is_empty() {
            text += &format!("every side held to {}\n", self.held_to);
        }
        text += &self.rates.text(self.threads);
        for (name, gflops) in &self.sft_gflops {
            let share = 100.0 * gflops / self.rates.f32();
            text += &format!(
                "SFT step, {name}: {gflops:.0} GF/s, {share:.0} % of the best f32 rate, counting all of its time\n"
            );
        }
        text += "\n| work | side | seconds (least – most) | peer, its fastest setting | seconds (least – most) | ours is faster by (least – most round) | peak GB, ours : peer |\n|---|---|---|---|---|---|---|\n";
        text.extend(self.measured.iter().map(Measured::text));
        let probes = self.measured.iter().flat_map(|of| {
            let name = of.name;
            of.probes.iter().map(move |probe| (name, probe))
        });
        if self.measured.iter().any(|of| !of.probes.is_empty()) {
            text += &probe::text(probes);
        }
        text.push('\n');
        for of in &self.measured {
            for (round, trained) in of.trained.iter().enumerate() {
                text += &format!("{} round {}: every side {trained}\n", of.name, round + 1);
            }
            for (ours, figures) in of.ours().filter(|(_, of)| !of.phases.is_empty()) {
                let phases = report::phases(&figures.phases);
                text += &format!("{}, {} by phase: {phases}\n", of.name, ours.name());
            }
        }
        if let Some(esrl) = &self.esrl {
            text += &esrl.text();
        }
        text
    }

    /// `<out>/<date>-<commit>.json`, or `-<simd>.json`.
    pub fn write(&self, out: &Path) -> Result<PathBuf> {
        let mut all = Map::new();
        for work in &self.measured {
            all.insert(work.name.into(), work.json());
        }
        if let Some(esrl) = &self.esrl {
            all.insert(esrl::NAME.into(), esrl.json());
        }
        all.insert(
            "sft_gflops".into(),
            json!(Map::from_iter(
                self.sft_gflops
                    .iter()
                    .map(|(name, rate)| (name.clone(), json!(rate)))
            )),
        );
        all.insert("matmul_gflops".into(), json!(self.rates));
        all.insert("machine".into(), json!(self.cpu));
        let mut suffix = String::new();
        if !self.held_to.is_empty() {
            all.insert("held_to".into(), json!(self.held_to));
            suffix = format!("-{}", self.held_to);
        }
        report::write(out, &suffix, all, self.threads)
    }
}

/// The floating-point operations that a step with frozen base weights needs: 4 per weight and token
/// (forward, and the gradient to the input); of the head only where there is a label. Without
/// attention and LoRA.
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
    let layers = of("num_hidden_layers")? * layer;
    Ok(4.0 * layers * tokens + 4.0 * of("vocab_size")? * d * labels)
}
