//! A short name for a set of weights, so that an adapter made for one base is not used on another.

use crate::{CausalLm, Result};
use candle_core::{DType, Device, Tensor};
use ops::QuantisedBlocks;
use sha2::{Digest, Sha256};

/// Elements read per tensor.
const SAMPLES: usize = 16;

/// Numbers of a tensor at equal distances. Those of quantised blocks are expanded.
fn sample(tensor: &Tensor) -> Result<Vec<f32>> {
    let numbers = QuantisedBlocks::of(tensor).map_or(1, QuantisedBlocks::numbers);
    let (rows, row) = match (numbers, tensor.dims()) {
        (2.., [rows, blocks, _]) => (*rows, blocks * numbers),
        _ => (tensor.elem_count(), 1),
    };
    let n = rows * row;
    let at: Vec<usize> = (0..SAMPLES.min(n))
        .map(|i| i * n / SAMPLES.min(n))
        .collect();
    let of_rows: Vec<u32> = at.iter().map(|i| (i / row) as u32).collect();
    let tensor = match row {
        1 => tensor.flatten_all()?,
        _ => tensor.clone(),
    };
    let of_rows = tensor.index_select(&Tensor::new(of_rows, tensor.device())?, 0)?;
    let of_rows = ops::widened(&of_rows.to_device(&Device::Cpu)?)?.to_dtype(DType::F32)?;
    let numbers = of_rows.flatten_all()?.to_vec1::<f32>()?;
    Ok((0..at.len())
        .map(|i| numbers[i * row + at[i] % row])
        .collect())
}

impl CausalLm {
    /// 16 hex digits: a hash of the config and of a few numbers of each tensor. It is cheap, and
    /// models differ in it unless made to collide. Saving and loading do not change it.
    pub fn fingerprint(&self) -> Result<String> {
        let mut config = self.config.clone();
        // these do not tell weights apart, and copies of a model differ in them
        (config.bos_token_id, config.eos_token_id) = (None, Vec::new());
        let mut hash = Sha256::new();
        hash.update(config.to_json().to_string());
        for (name, tensor) in self.tensors() {
            hash.update(name);
            for value in sample(&tensor.detach())? {
                hash.update(value.to_le_bytes());
            }
        }
        let digest = hash.finalize();
        Ok(digest[..8].iter().map(|b| format!("{b:02x}")).collect())
    }
}
