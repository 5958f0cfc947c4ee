//! A short name for a set of weights, so that what was made for one base is not used on another.

use crate::{Llama, Result};
use candle_core::{DType, Tensor};
use sha2::{Digest, Sha256};

/// Elements read per tensor.
const SAMPLES: usize = 16;

impl Llama {
    /// 16 hex digits over the config and a few weights of every tensor: cheap, and different for any two models that
    /// were not made to collide. Same bits after a save and a load.
    pub fn fingerprint(&self) -> Result<String> {
        let mut config = self.config.clone();
        // these say how text ends, not which weights these are, and files differ in them
        (config.bos_token_id, config.eos_token_id) = (None, Vec::new());
        let mut hash = Sha256::new();
        hash.update(config.to_json().to_string());
        for (name, tensor) in self.tensors() {
            let n = tensor.elem_count();
            let at: Vec<u32> = (0..SAMPLES.min(n))
                .map(|i| (i * n / SAMPLES.min(n)) as u32)
                .collect();
            let at = Tensor::new(at, self.device())?;
            let sample = tensor.detach().flatten_all()?.index_select(&at, 0)?;
            let sample = sample.to_dtype(DType::F32)?;
            hash.update(name);
            for value in sample.to_vec1::<f32>()? {
                hash.update(value.to_le_bytes());
            }
        }
        let digest = hash.finalize();
        Ok(digest[..8].iter().map(|b| format!("{b:02x}")).collect())
    }
}
