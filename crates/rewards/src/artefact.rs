//! The trained reward model: one directory that holds everything that a score depends on.
//!
//! ```text
//! adapter_config.json, adapter_model.safetensors   the LoRA adapter (PEFT)
//! head.safetensors                                 the scalar head
//! tokenizer.json                                   the tokenizer its ids come from
//! reward.json (written last)                       template, BOS/EOS rule, mean, std, base,
//!                                                  golden rows
//! ```
//! Loading leaves no tensor random: every file must exist, the base must be the one it was trained
//! on, and the golden rows must score as they did when it was saved.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use data::{Ends, Template};
use models::{CausalLm, Lora, Packed, ScalarHead, Sequence};
use run::FileHashes;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokenizers::Tokenizer;

const VERSION: u32 = 1;
const MANIFEST: &str = "reward.json";
const HEAD: &str = "head.safetensors";
const FILES: [&str; 5] = [
    MANIFEST,
    HEAD,
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer.json",
];
/// Tokens of one forward while scoring.
pub const BATCH_TOKENS: usize = 4096;
/// Largest allowed error of a golden score, relative to max(1, |score|). In f32 it comes from the
/// order of sums. If either side's activations are bf16, as on a GPU, it comes from rounding.
const GOLDEN_TOLERANCE: f32 = 1e-3;
const NARROW_GOLDEN_TOLERANCE: f32 = 5e-2;

/// A reward model that scores prompt + response at the last token: `score = head · hidden[last]`,
/// f32.
pub struct RewardModel {
    /// Frozen
    pub adapter: Lora,
    /// How prompts were rendered in training; a policy must be prompted the same way
    pub template: Template,
    /// BOS and EOS as in training: a finished response ends in `ends.eos`, the token that the score
    /// is read at
    pub ends: Ends,
    /// The text that the base model was opened by
    pub base: String,
    /// Mean of the raw scores of the source policy's samples
    pub mean: f64,
    /// Their standard deviation
    pub std: f64,
    head: ScalarHead,
    base_fingerprint: String,
    golden: Vec<Golden>,
    /// Whether `golden` was scored with bf16 activations
    narrow: bool,
    /// The files that it was opened from, as they were read; empty if it is new
    files: FileHashes,
}

/// A row, and its raw score when the artefact was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    ids: Vec<u32>,
    score: f32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    template: Template,
    ends: Ends,
    mean: f64,
    std: f64,
    base: String,
    base_fingerprint: String,
    golden: Vec<Golden>,
    /// Whether the golden rows were scored with bf16 activations
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    narrow: bool,
}

impl RewardModel {
    /// A new artefact: not yet normalised (mean 0, std 1), without golden rows.
    pub fn new(
        model: &CausalLm,
        adapter: Lora,
        head: ScalarHead,
        template: Template,
        ends: Ends,
        base: &str,
    ) -> Result<Self> {
        Ok(Self {
            adapter: adapter.frozen(),
            head: head.frozen(),
            template,
            ends,
            base: base.to_string(),
            mean: 0.0,
            std: 1.0,
            base_fingerprint: model.fingerprint()?,
            golden: Vec::new(),
            narrow: false,
            files: FileHashes::default(),
        })
    }

    /// Measures mean and standard deviation on `samples` (ids of prompt and response) and records
    /// the scores of the `golden` rows. Without samples they are 0 and 1; where all scores are
    /// equal, the standard deviation is 1.
    pub fn calibrated(
        mut self,
        model: &CausalLm,
        samples: &[Vec<u32>],
        golden: Vec<Vec<u32>>,
    ) -> Result<Self> {
        let scores = self.score(model, &alone(samples))?;
        (self.mean, self.std) = mean_std(&scores);
        let scores = self.score(model, &alone(&golden))?;
        self.narrow = narrow(model);
        self.golden = golden
            .into_iter()
            .zip(scores)
            .map(|(ids, score)| Golden { ids, score })
            .collect();
        Ok(self)
    }

    /// Writes the artefact into `dir`, the manifest last.
    pub fn save(&self, dir: &Path, tokenizer: &Tokenizer) -> Result<()> {
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            Error::Input(format!("cannot write {}: {e}", dir.join(what).display()))
        };
        std::fs::create_dir_all(dir).map_err(|e| failed("", &e))?;
        self.adapter.save(dir, &self.base)?;
        self.head.save(&dir.join(HEAD))?;
        tokenizer
            .save(dir.join("tokenizer.json"), false)
            .map_err(|e| failed("tokenizer.json", &e))?;
        let manifest = Manifest {
            version: VERSION,
            template: self.template.clone(),
            ends: self.ends.clone(),
            mean: self.mean,
            std: self.std,
            base: self.base.clone(),
            base_fingerprint: self.base_fingerprint.clone(),
            golden: self.golden.clone(),
            narrow: self.narrow,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|e| failed(MANIFEST, &e))?;
        run::atomic_write(&dir.join(MANIFEST), text.as_bytes()).map_err(|e| failed(MANIFEST, &e))
    }

    /// The template of an artefact, without reading its tensors. `base`: the fingerprint of the
    /// base that it will be opened on, where that is known. Errors: as [`load`](Self::load), where
    /// they need no model.
    pub fn template_of(dir: &Path, base: Option<&str>) -> Result<Template> {
        require_files(dir)?;
        run::check_sums(dir).map_err(|e| Error::Input(run::one_line(&e)))?;
        let manifest = read_manifest(&dir.join(MANIFEST))?;
        base.map_or(Ok(()), |base| require_base(dir, &manifest, base))?;
        Ok(manifest.template)
    }

    /// Opens an artefact on the base that it was trained on. A missing file, one that does not
    /// match SHA256SUMS, another base, or golden scores that differ are errors.
    pub fn load(dir: &Path, model: &CausalLm) -> Result<Self> {
        require_files(dir)?;
        let checked = run::check_result(dir).and_then(|()| FileHashes::of_dir(dir));
        let files = checked.map_err(|e| Error::Input(run::one_line(&e)))?;
        let manifest = read_manifest(&dir.join(MANIFEST))?;
        require_base(dir, &manifest, &model.fingerprint()?)?;
        let reward = Self {
            adapter: Lora::load(dir, model)?.frozen(),
            head: ScalarHead::load(&dir.join(HEAD), model.config.hidden_size, model.device())?
                .frozen(),
            template: manifest.template,
            ends: manifest.ends,
            base: manifest.base,
            mean: manifest.mean,
            std: manifest.std,
            base_fingerprint: manifest.base_fingerprint,
            golden: manifest.golden,
            narrow: manifest.narrow,
            files,
        };
        let unchanged = reward.files.require_unchanged();
        unchanged.map_err(|e| Error::Input(run::one_line(&e)))?;
        reward.check_golden(dir, model)?;
        Ok(reward)
    }

    /// The files that it was opened from, as they were read.
    pub fn files(&self) -> &FileHashes {
        &self.files
    }

    fn check_golden(&self, dir: &Path, model: &CausalLm) -> Result<()> {
        let tolerance = match self.narrow || narrow(model) {
            true => NARROW_GOLDEN_TOLERANCE,
            false => GOLDEN_TOLERANCE,
        };
        let rows: Vec<Sequence> = self.golden.iter().map(|g| (g.ids.as_slice(), 0)).collect();
        for (i, (golden, score)) in self
            .golden
            .iter()
            .zip(self.score(model, &rows)?)
            .enumerate()
        {
            let off = (score - golden.score).abs();
            // Written so that a NaN does not pass.
            let close = off <= tolerance * golden.score.abs().max(1.0);
            if !close {
                return input(format!(
                    "{}: golden row {} scores {score}, and it scored {} when the artefact was saved; its adapter, head or base is not the one it was saved with",
                    dir.display(),
                    i + 1,
                    golden.score
                ));
            }
        }
        Ok(())
    }

    /// Raw scores, one per row (prompt and response), read at the last token, without graph. In
    /// batches of at most [`BATCH_TOKENS`]; neighbours with the same prompt share its forward.
    pub fn score(&self, model: &CausalLm, rows: &[Sequence]) -> Result<Vec<f32>> {
        let context = model.config.max_position_embeddings;
        for (i, (row, _)) in rows.iter().enumerate() {
            if row.is_empty() || row.len() > context {
                return input(format!(
                    "reward: row {} has {} tokens; a score needs 1 to {context}, the model's context",
                    i + 1,
                    row.len()
                ));
            }
        }
        let units: Vec<Vec<Sequence>> = rows.iter().map(|row| vec![*row]).collect();
        let mut scores = Vec::with_capacity(rows.len());
        for range in models::micro_batches(&units, BATCH_TOKENS) {
            scores.extend(self.score_batch(model, &rows[range])?);
        }
        Ok(scores)
    }

    fn score_batch(&self, model: &CausalLm, rows: &[Sequence]) -> Result<Vec<f32>> {
        let packed = Packed::new(rows);
        // [N, d]
        let hidden = model.hidden(&packed.ids, &packed.layout(), Some(&self.adapter), None)?;
        let row = |(seq, (ids, _)): (usize, &Sequence)| packed.row(seq, ids.len() - 1) as u32;
        let last: Vec<u32> = rows.iter().enumerate().map(row).collect();
        let last = hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?; // [B, d]
        Ok(self.head.apply(&last.detach())?.to_vec1::<f32>()?)
    }

    /// The row with EOS at its end, where it has none; in its last token's place where the model's
    /// `context` has no room for one more.
    pub(crate) fn ended(&self, row: &[u32], context: usize) -> Vec<u32> {
        let mut ids = row.to_vec();
        if ids.last() != Some(&self.ends.eos) {
            ids.truncate(context.saturating_sub(1));
            ids.push(self.ends.eos);
        }
        ids
    }

    /// `(raw - mean) / std`
    pub fn normalised(&self, raw: f32) -> f32 {
        ((f64::from(raw) - self.mean) / self.std) as f32
    }

    /// The head with the normalisation folded in, the start of a critic: `value = (weight/std) ·
    /// hidden + (bias - mean)/std`.
    pub fn value_head(&self) -> Result<ScalarHead> {
        let head = self.head.trainable()?;
        for (name, var) in head.vars() {
            let raw = var.as_detached_tensor();
            let shifted = match name.ends_with("bias") {
                true => (raw - self.mean)?,
                false => raw,
            };
            var.set(&(shifted / self.std)?)?;
        }
        Ok(head.frozen())
    }
}

/// Rows that share no prompt.
fn alone(rows: &[Vec<u32>]) -> Vec<Sequence<'_>> {
    rows.iter().map(|ids| (ids.as_slice(), 0)).collect()
}

fn mean_std(scores: &[f32]) -> (f64, f64) {
    if scores.is_empty() {
        return (0.0, 1.0);
    }
    let n = scores.len() as f64;
    let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
    let square = |s: &f32| (f64::from(*s) - mean).powi(2);
    let std = (scores.iter().map(square).sum::<f64>() / n).sqrt();
    (mean, if std > 1e-6 { std } else { 1.0 })
}

fn narrow(model: &CausalLm) -> bool {
    model.activation_dtype() != DType::F32
}

fn require_files(dir: &Path) -> Result<()> {
    let at = dir.display();
    if !dir.is_dir() {
        return input(format!(
            "{at} does not exist; give the run directory of a finished reward-model run"
        ));
    }
    // What is there and cannot be read is not missing: its reader says what is wrong.
    let is_missing = |name: &&&str| dir.join(name).symlink_metadata().is_err();
    if let Some(missing) = FILES.iter().find(is_missing) {
        return input(format!(
            "{at}: {missing} is missing; the reward artefact is incomplete, copy all of it or train it again"
        ));
    }
    Ok(())
}

fn require_base(at: &Path, manifest: &Manifest, found: &str) -> Result<()> {
    if found == manifest.base_fingerprint {
        return Ok(());
    }
    input(format!(
        "{} was trained on the base {} (fingerprint {}), and this base is another one ({found}); use the base it was trained on",
        at.display(),
        manifest.base,
        manifest.base_fingerprint
    ))
}

fn read_manifest(file: &Path) -> Result<Manifest> {
    let at = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::Input(format!("cannot read {at}: {e}")))?;
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|e| Error::Input(format!("{at} is not a reward manifest: {e}")))?;
    if manifest.version != VERSION {
        return input(format!(
            "{at} has version {}, this program reads version {VERSION}; train the reward model again",
            manifest.version
        ));
    }
    if !(manifest.std > 0.0 && manifest.std.is_finite() && manifest.mean.is_finite()) {
        return input(format!(
            "{at}: mean = {}, std = {} cannot normalise a score; train the reward model again",
            manifest.mean, manifest.std
        ));
    }
    Ok(manifest)
}

fn input<T>(message: String) -> Result<T> {
    Err(Error::Input(message))
}
