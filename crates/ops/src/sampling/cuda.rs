//! One draw from each row of logits on a GPU.

use crate::cuda::kernel::Kernel;
use crate::cuda::view::{OpenTensor, ViewMut, from_storage};

use super::rule::{Drawn, SamplingRule};
use candle_core::{DType, Result, Tensor};

const THREADS: usize = 512;

/// `logits` [n, V], f32; a rule for each row. `None`: the row's logits are not finite.
pub(super) fn sample(logits: &Tensor, rules: &[SamplingRule]) -> Result<Vec<Option<Drawn>>> {
    let (n, vocab) = logits.dims2()?;
    let words = |rule: &SamplingRule| {
        let u = rule.u.to_bits();
        let top_k = rule.top_k as u32;
        let rule = [rule.temperature.to_bits(), rule.top_p.to_bits(), top_k, 0];
        rule.into_iter().chain([u as u32, (u >> 32) as u32])
    };
    let rules: Vec<u32> = rules.iter().flat_map(words).collect();
    let rules = Tensor::from_vec(rules, (n, 6), logits.device())?;
    let (logits, rules) = (OpenTensor::of(logits), OpenTensor::of(&rules));
    let logits = logits.view()?;
    let mut drawn = logits.alloc(DType::U32, n * 4)?;
    Kernel::new("sample", (n, 1), THREADS)
        .read(logits)
        .read(rules.view()?)
        .write(ViewMut::of(&mut drawn))
        .u32(vocab)
        .launch()?;
    let drawn = from_storage(drawn, (n, 4)).to_vec2::<u32>()?;
    let of = |row: Vec<u32>| {
        let [logp, entropy, max_prob] = [row[1], row[2], row[3]].map(f32::from_bits);
        let id = row[0];
        let drawn = Drawn {
            id,
            logp,
            entropy,
            max_prob,
        };
        ((id as usize) < vocab).then_some(drawn)
    };
    Ok(drawn.into_iter().map(of).collect())
}
