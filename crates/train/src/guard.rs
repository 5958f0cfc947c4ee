//! Guards of the training step: they name non-finite numbers, trainable tensors that do not change,
//! and frozen ones that do.

use crate::Gradients;
use crate::gradients::sums_of_squares;
use anyhow::{Result, bail};
use candle_core::{DType, Tensor, Var};

/// The first parameter that holds a NaN or an infinity.
pub fn first_non_finite(params: &[(String, Var)]) -> candle_core::Result<Option<&str>> {
    let tensors: Vec<&Tensor> = params.iter().map(|(_, var)| var.as_tensor()).collect();
    let sums = sums_of_squares(&tensors)?;
    let bad = sums.iter().position(|sum| !sum.is_finite());
    Ok(bad.map(|at| params[at].0.as_str()))
}

/// Where the first non-finite number is, for the error that ends a run. Weights are checked before
/// gradients.
pub fn diagnose(params: &[(String, Var)], grads: &Gradients) -> candle_core::Result<String> {
    Ok(match (first_non_finite(params)?, grads.norm()?.1) {
        (Some(name), _) => {
            let weight = params.iter().find(|(other, _)| other == name);
            let weight = weight.map(|(_, var)| var.as_detached_tensor());
            format!(
                "the first bad tensor is the weight {name}{}",
                place(name, weight.as_ref())?
            )
        }
        (None, Some(name)) => {
            let at = place(&name, grads.get(&name))?;
            format!("the first bad tensor is the gradient of {name}{at}")
        }
        (None, None) => "weights and gradients are finite".to_string(),
    })
}

/// `, layer 3, row 17`: the layer in the name, if any, and the first row (of dimension 0, from 0)
/// that is not finite.
fn place(name: &str, tensor: Option<&Tensor>) -> candle_core::Result<String> {
    let layer = name.split_once("layers.").map(|(_, rest)| rest);
    let layer = layer.and_then(|rest| rest.split('.').next());
    let mut place = layer.map_or(String::new(), |layer| format!(", layer {layer}"));
    if let Some(tensor) = tensor {
        let n_rows = tensor.dims().first().copied().unwrap_or(0);
        let rows: Vec<Tensor> = (0..n_rows)
            .map(|row| tensor.get(row))
            .collect::<candle_core::Result<_>>()?;
        let sums = sums_of_squares(&rows.iter().collect::<Vec<_>>())?;
        if let Some(row) = sums.iter().position(|sum| !sum.is_finite()) {
            place += &format!(", row {row}");
        }
    }
    Ok(place)
}

/// Fingerprints of weights that training must not change. A few elements of each are enough, since
/// an optimiser moves all elements of a tensor.
pub struct Frozen {
    start: Vec<u64>,
}

/// Elements read per frozen tensor.
const SAMPLES: usize = 64;

impl Frozen {
    /// Remembers the tensors as they are.
    pub fn new(tensors: &[(String, Tensor)]) -> candle_core::Result<Self> {
        let start: candle_core::Result<_> =
            tensors.iter().map(|(_, tensor)| sampled(tensor)).collect();
        start.map(|start| Self { start })
    }

    /// An error for the first tensor that has changed. The tensors are those of [`new`](Self::new),
    /// in the same order.
    pub fn check(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        for ((name, tensor), start) in tensors.iter().zip(&self.start) {
            if sampled(tensor)? != *start {
                bail!(
                    "the frozen weight {name} has changed: something trains or writes a weight that must stay fixed, so the \
                     adapters no longer fit the base; this checkpoint is not written, go back to the one before"
                );
            }
        }
        Ok(())
    }
}

fn sampled(x: &Tensor) -> candle_core::Result<u64> {
    let n = x.elem_count();
    let at: Vec<u32> = (0..SAMPLES.min(n))
        .map(|i| (i * n / SAMPLES.min(n)) as u32)
        .collect();
    let at = Tensor::new(at, x.device())?;
    fingerprint(&x.detach().flatten_all()?.index_select(&at, 0)?)
}

/// Checks that every trainable tensor changes. In the first step a LoRA A has a zero gradient (B is
/// 0), behind a head of zeros in the second as well, and a warm-up starts at a learning rate of 0.
/// So the check waits for three steps that moved, far enough for an update to be visible in f32
/// beside a weight of 1.
pub struct Tripwire {
    start: Vec<u64>,
    moves: usize,
    distance: f64,
}

/// Sum of learning rates after which a change is visible in f32.
const VISIBLE: f64 = 1e-6;

impl Tripwire {
    /// Remembers the parameters as they are.
    pub fn new(params: &[(String, Var)]) -> candle_core::Result<Self> {
        Ok(Self {
            start: fingerprints(params)?,
            moves: 0,
            distance: 0.0,
        })
    }

    /// Call after each step with its learning rate (0 if the whole gradient was zero). True: every
    /// tensor has changed and the check is done. An error where one has not after three steps.
    pub fn passed(&mut self, params: &[(String, Var)], lr: f64) -> Result<bool> {
        self.moves += usize::from(lr > 0.0);
        self.distance += lr;
        if self.moves < 3 || self.distance < VISIBLE {
            return Ok(false);
        }
        let now = fingerprints(params)?;
        let stuck = (0..now.len()).filter(|&i| now[i] == self.start[i]);
        let stuck: Vec<&str> = stuck.map(|i| params[i].0.as_str()).collect();
        if let Some(first) = stuck.first() {
            bail!(
                "{} of {} trainable tensors did not change in {} steps, the first is {first}: no gradient reaches it",
                stuck.len(),
                params.len(),
                self.moves
            );
        }
        Ok(true)
    }
}

fn fingerprints(params: &[(String, Var)]) -> candle_core::Result<Vec<u64>> {
    params
        .iter()
        .map(|(_, var)| fingerprint(&var.as_detached_tensor()))
        .collect()
}

/// FNV-1a over the f32 bits.
fn fingerprint(x: &Tensor) -> candle_core::Result<u64> {
    let values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let fold = |hash: u64, v: &f32| (hash ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3);
    Ok(values.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}
