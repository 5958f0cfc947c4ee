//! What a model's weights will take in memory, known before they are loaded.

use crate::model_spec::{Slot, params};
use crate::weight_storage::{MatrixFormat, WeightStorage};
use crate::{Config, Result};
use std::collections::HashMap;

/// Counts of parameters and bytes, as they will be once the weights are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightsMeta {
    /// Numbers in all tensors.
    pub n_params: usize,
    /// A tied head is not counted.
    pub n_tensors: usize,
    bytes: usize,
    /// What a GPU takes beside them to multiply.
    scratch_bytes: usize,
    /// The matrices, by Hugging Face name.
    pub(crate) formats: HashMap<String, MatrixFormat>,
    /// Whether the files are present. If not, `dtype` of config.json was believed.
    pub present: bool,
}

impl WeightsMeta {
    /// `format`: of a matrix with this place, Hugging Face name and row width.
    pub(crate) fn count(
        config: &Config,
        storage: WeightStorage,
        format: impl Fn(Matrix) -> Result<MatrixFormat>,
    ) -> Result<Self> {
        let mut weights = Self {
            present: true,
            ..Self::default()
        };
        for param in params(config) {
            let n: usize = param.shape.iter().product();
            weights.n_tensors += 1;
            weights.n_params += n;
            let [rows, width] = param.shape[..] else {
                weights.bytes += 4 * n;
                continue;
            };
            let format = format(Matrix {
                slot: param.slot,
                hf_name: &param.hf_name,
                gguf_name: &param.gguf_name,
                width,
            })?;
            weights.bytes += format.bytes((rows, width));
            let expanded = matches!(format, MatrixFormat::Blocks(_));
            if storage == WeightStorage::Rounded && expanded {
                weights.scratch_bytes = weights.scratch_bytes.max(2 * n);
            }
            weights.formats.insert(param.hf_name, format);
        }
        Ok(weights)
    }

    /// Bytes of the loaded weights.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// With the space in which a GPU expands its largest quantised matrix to bf16 for a product.
    pub fn bytes_in_use(&self) -> usize {
        self.bytes + self.scratch_bytes
    }
}

/// A matrix whose format is asked for.
pub(crate) struct Matrix<'a> {
    pub slot: Slot,
    pub hf_name: &'a str,
    pub gguf_name: &'a str,
    /// Numbers in a row.
    pub width: usize,
}
