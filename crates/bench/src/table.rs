//! The report of `bench compare`: a Markdown table and a JSON file.

use crate::esrl;
use crate::figures::Figures;
use crate::machine::Rates;
use crate::setup::Setup;
use crate::side::Side;
use crate::work::Work;
use crate::{report, rows};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One workload with the figures of each side.
pub(crate) struct Measured {
    pub name: &'static str,
    pub sides: Vec<(Side, Figures)>,
}

impl Measured {
    pub fn of(work: &Work, sides: Vec<(Side, Figures)>) -> Self {
        let name = work.name;
        Self { name, sides }
    }

    fn ours(&self) -> Option<&Figures> {
        let ours = |(side, _): &&(Side, Figures)| *side == Side::Ours;
        self.sides.iter().find(ours).map(|(_, figures)| figures)
    }
}

/// All figures of a comparison.
pub(crate) struct Report {
    measured: Vec<Measured>,
    esrl: Option<esrl::Report>,
    rates: Rates,
    /// Floating-point rate of an SFT step as a share of the rate of a large product
    matmul_share: Option<f64>,
    threads: usize,
}

impl Report {
    pub fn new(
        measured: Vec<Measured>,
        esrl: Option<esrl::Report>,
        rates: Rates,
        setup: &Setup,
    ) -> Result<Self> {
        let sft = measured.iter().find(|m| m.name == "sft_step");
        let matmul_share = match sft.and_then(Measured::ours) {
            Some(ours) => {
                let labels = rows::labels_per_step(setup, ours.rounds())?;
                let flops = useful_flops(&setup.model(), ours.tokens, labels)?;
                Some(flops / ours.secs / 1e9 / rates.machine())
            }
            None => None,
        };
        Ok(Self {
            measured,
            esrl,
            rates,
            matmul_share,
            threads: setup.threads,
        })
    }

    /// Tables in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "| work | side | seconds (least – most) | tokens/s | peak GB | ours is faster by (least – most round) | ours needs of its memory |\n|---|---|---|---|---|---|---|\n",
        );
        for work in &self.measured {
            for (side, of) in &work.sides {
                let rate = of.tokens_per_sec.map_or("".into(), |r| format!("{r:.0}"));
                let (faster, memory) = match work.ours().filter(|_| *side != Side::Ours) {
                    Some(ours) => {
                        let [middle, least, most] = of.time_over(ours);
                        (
                            format!("{middle:.2}x ({least:.2} – {most:.2})"),
                            format!("{:.2}x", ours.peak_gb() / of.peak_gb()),
                        )
                    }
                    None => ("".into(), "".into()),
                };
                text += &format!(
                    "| {} | {} | {:.2} ({:.2} – {:.2}) | {rate} | {:.2} | {faster} | {memory} |\n",
                    work.name,
                    side.name(),
                    of.secs,
                    of.least,
                    of.most,
                    of.peak_gb()
                );
            }
        }
        for work in &self.measured {
            if let Some(ours) = work.ours().filter(|ours| !ours.phases.is_empty()) {
                let phases = report::phases(&ours.phases);
                text += &format!("\n{} by phase: {phases}\n", work.name);
            }
        }
        if let Some(esrl) = &self.esrl {
            text += &esrl.text();
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
                "the SFT step reaches {:.0} % of that, counting all of its time\n",
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
            for (side, of) in &work.sides {
                of.write(side.name(), &mut figures);
                let Some(ours) = work.ours().filter(|_| *side != Side::Ours) else {
                    continue;
                };
                let key = match side {
                    Side::Peer => "speedup".to_string(),
                    _ => format!("{}_speedup", side.name()),
                };
                let [middle, least, most] = of.time_over(ours);
                figures.insert(format!("{key}_range"), json!([least, most]));
                figures.insert(key, json!(middle));
            }
            all.insert(work.name.into(), Value::Object(figures));
        }
        if let Some(esrl) = &self.esrl {
            all.insert(esrl::NAME.into(), esrl.json());
        }
        all.insert("matmul_share".into(), json!(self.matmul_share));
        all.insert("matmul".into(), json!(self.rates));
        report::write(out, "", all, self.threads)
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
