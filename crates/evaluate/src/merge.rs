//! `wick merge`: base and adapter as one Hugging Face directory, which transformers, vLLM and
//! llama.cpp's converter load.
//!
//! The written files are read back and must give the logits of base + adapter on a probe set. An
//! adapter that changes nothing is an error, since users of other tools have silently got the base.

use crate::merged_template::MergedTemplate;
use crate::output::ensure_parent;
use crate::policies::PolicyOpener;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use models::{CausalLm, HfCopy, Lora, ModelSource, WrittenDtype};
use ops::Ragged;
use policy::Policy;
use rand::Rng;
use run::Replace;
use serde::Serialize;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Largest allowed difference of a merged logit, f32.
const TOLERANCE: f64 = 1e-3;
/// The same for bf16 weights (8 bits of mantissa), relative to the largest logit.
const TOLERANCE_BF16: f64 = 0.05;
/// A loss of more than this share of the adapter's change is reported.
const LOST: f64 = 0.1;
/// From here on what is written is hardly nearer to the policy than the base is. Where rounding
/// takes every change, the share that is measured lies between 0.98 and 1.02.
const ALL_LOST: f64 = 0.9;
/// Size of the probe set.
const PROBE_ROWS: usize = 4;
const PROBE_LEN: usize = 24;

/// Type of the written weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    F32,
    Bf16,
}

/// The arguments of `wick merge`.
#[derive(Clone, Debug, clap::Args)]
pub struct MergeConfig {
    /// Run of sft or esrl-rlhf whose result is an adapter, or an adapter of PEFT
    #[arg(long, value_name = "RUN")]
    pub run: String,
    /// Where the base of a run or adapter is, if not where that says; its numbers must be the same
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Directory to create
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Type of the written weights
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub dtype: Dtype,
}

impl MergeConfig {
    /// The defaults of the command line.
    pub fn new(run: &str, out: &Path) -> Self {
        Self {
            run: run.to_string(),
            base: None,
            out: out.to_path_buf(),
            dtype: Dtype::F32,
        }
    }
}

/// The largest differences of a logit on the probe set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MergeReport {
    pub out: PathBuf,
    pub dtype: Dtype,
    /// Between the written model and base + adapter.
    pub error: f64,
    /// Between base + adapter and the base.
    pub change: f64,
    /// Largest logit of base + adapter.
    pub largest: f64,
    /// What rounding loses of the adapter's change: root mean square of the differences behind
    /// `error`, divided by that of those behind `change`
    pub lost: f64,
}

impl std::fmt::Display for MergeReport {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "merged into {}", self.out.display())?;
        write!(
            f,
            "probe logits: the adapter changes them by up to {:.1e}; the merged model differs from it by up to {:.1e}",
            self.change, self.error
        )
    }
}

/// Writes the merged model of `config.run` into `config.out`.
pub fn merge(config: &MergeConfig) -> Result<MergeReport> {
    let out = &config.out;
    run::ensure_new(out, "--out", Replace::Never)?;
    let parent = ensure_parent(out)?;
    let policy =
        PolicyOpener::of_one("cpu", config.base.as_deref(), &config.run)?.policy(&config.run)?;
    let template = MergedTemplate::of(&policy)?;
    let lora = policy
        .adapter
        .as_ref()
        .with_context(|| format!("{} has no adapter: it is a whole model already", config.run))?;
    if config.dtype == Dtype::F32 {
        require_memory(policy.model())?;
    }
    let probe = Probe::new(policy.model());
    let wanted = probe.logits(policy.model(), Some(lora))?;
    let base = probe.logits(policy.model(), None)?;
    let change = largest_difference(&wanted, &base)?;
    ensure!(
        change.is_finite(),
        "the logits of {} are not finite; its adapter is damaged, merge an earlier one",
        config.run
    );
    ensure!(
        change > 0.0,
        "the adapter of {} changes nothing (its B matrices are zero); the result would be the base",
        config.run
    );
    let aside = tempfile::Builder::new()
        .prefix(".merge-")
        .permissions(Permissions::from_mode(0o777)) // the umask applies, as to any directory
        .tempdir_in(parent)
        .with_context(|| format!("cannot write into {}", parent.display()))?;
    save(&policy, lora, &template, config.dtype, aside.path())?;
    // one copy of the weights in memory
    drop(policy);
    let written = models::load(&ModelSource::Dir(aside.path().to_path_buf()), &Device::Cpu)?;
    let found = probe.logits(&written.model, None)?;
    let error = largest_difference(&wanted, &found)?;
    let largest = wanted
        .abs()?
        .flatten_all()?
        .max(0)?
        .to_scalar::<f32>()?
        .into();
    accept(
        error,
        match config.dtype {
            Dtype::F32 => TOLERANCE,
            Dtype::Bf16 => TOLERANCE_BF16 * f64::max(largest, 1.0),
        },
    )?;
    let lost = mean_difference(&wanted, &found)? / mean_difference(&wanted, &base)?;
    check_lost(lost, config.dtype)?;
    run::write_sums(aside.path())?;
    if let Some(note) = &template.note {
        run::say!("{note}");
    }
    std::fs::rename(aside.path(), out)
        .with_context(|| format!("cannot create {}", out.display()))?;
    // Renamed to `out`: nothing to delete.
    let _ = aside.keep();
    Ok(MergeReport {
        out: out.clone(),
        dtype: config.dtype,
        error,
        change,
        largest,
        lost,
    })
}

/// Writes the model with the adapter, its tokenizer and its chat template.
fn save(
    policy: &Policy,
    lora: &Lora,
    template: &MergedTemplate,
    dtype: Dtype,
    dir: &Path,
) -> Result<()> {
    let base = &policy.base;
    let copy = HfCopy {
        tokenizer: &base.tokenizer,
        special: &base.special,
        chat_template: template.source.as_deref(),
        defaults: &base.defaults,
        adapter: Some(lora),
        dtype: match dtype {
            Dtype::F32 => WrittenDtype::F32,
            Dtype::Bf16 => WrittenDtype::Bf16,
        },
    };
    Ok(policy.model().save_copy(dir, &copy)?)
}

/// What is written is read again, in f32.
fn require_memory(model: &CausalLm) -> Result<()> {
    let needed = 4 * model.n_params() as u64;
    let usable = run::usable_memory_bytes().unwrap_or(u64::MAX);
    ensure!(
        needed <= usable,
        "to write and check the merged model in f32 takes {:.1} GB of memory, and {:.1} GB can be \
         used; give --dtype bf16, which takes half",
        needed as f64 / 1e9,
        usable as f64 / 1e9
    );
    Ok(())
}

fn accept(error: f64, tolerance: f64) -> Result<()> {
    // This order also rejects NaN.
    if error <= tolerance {
        return Ok(());
    }
    bail!(
        "the merged model's logits differ from the adapter's by {error:.2e}, more than \
         {tolerance:.0e}; nothing was written"
    )
}

/// Says how much of the adapter's change is lost by rounding.
///
/// # Errors
/// If all of it is.
fn check_lost(lost: f64, dtype: Dtype) -> Result<()> {
    let (what, instead) = match dtype {
        Dtype::F32 => ("f32", "train with a higher learning rate or longer"),
        Dtype::Bf16 => ("bf16", "use --dtype f32"),
    };
    // This order also rejects NaN.
    ensure!(
        lost < ALL_LOST,
        "rounding to {what} moves the logits by {:.0} % of what the adapter does, so the result \
         would be hardly nearer to the policy than the base is; {instead}; nothing was written",
        100.0 * lost
    );
    if lost > LOST {
        run::say!(
            "rounding to {what} loses {:.0} % of what the adapter changes; {instead}",
            100.0 * lost
        );
    }
    Ok(())
}

/// Sequences of random tokens, the same for every model with the same vocabulary.
struct Probe {
    ids: Vec<u32>,
    layout: Ragged,
}

impl Probe {
    fn new(model: &CausalLm) -> Self {
        let len = PROBE_LEN.min(model.config.max_position_embeddings);
        let vocab = model.config.vocab_size as u32;
        let mut rng = run::stream(0, "merge probe", 0, 0);
        Self {
            ids: (0..PROBE_ROWS * len)
                .map(|_| rng.random_range(0..vocab))
                .collect(),
            layout: Ragged::from_lens(&[len; PROBE_ROWS]),
        }
    }

    /// [N, V]
    fn logits(&self, model: &CausalLm, lora: Option<&Lora>) -> Result<Tensor> {
        let hidden = model.hidden(&self.ids, &self.layout, lora, None)?;
        Ok(ops::frozen_linear(&hidden, model.head())?)
    }
}

/// Root mean square.
fn mean_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let squares = (a - b)?.sqr()?.mean_all()?.to_scalar::<f32>()?;
    Ok(f64::from(squares).sqrt())
}

fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let difference = (a - b)?.abs()?.flatten_all()?.to_vec1::<f32>()?;
    // f32::max would ignore NaN.
    let worst = difference
        .into_iter()
        .fold(0.0, |m: f32, d| if d > m || d.is_nan() { d } else { m });
    Ok(worst.into())
}
