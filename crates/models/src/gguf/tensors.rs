//! The weights of an open GGUF file, found by the names of the model's description.

use super::config::{LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS};
use super::part::Part;
use crate::bf16_exact::FileFormat;
use crate::hf_weights::check_shape;
use crate::layer_spec::{Module, Projection, Role};
use crate::model_spec::{ModelParam, Slot, params};
use crate::safetensors_file::{check_finite, not_finite};
use crate::shape::HeadRows;
use crate::weight_storage::StoragePlan;
use crate::{CausalLm, Config, Error, Result};
use candle_core::quantized::gguf_file::TensorInfo;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use ops::QuantisedBlocks;

/// The open files of a model.
pub(crate) struct Tensors {
    pub(super) parts: Vec<Part>,
    /// Known tensors that are not parameters.
    pub(super) n_others: usize,
}

impl Tensors {
    fn find(&self, name: &str) -> Option<(&Part, &TensorInfo)> {
        let mut parts = self.parts.iter();
        parts.find_map(|part| Some((part, part.content.tensor_infos.get(name)?)))
    }

    /// The quantised blocks that a tensor is stored in.
    pub fn blocks(&self, name: &str) -> Option<QuantisedBlocks> {
        blocks_of(self.find(name)?.1.ggml_dtype)
    }

    /// Whether bf16 holds every number of a tensor exactly. It does not hold those of quantised
    /// blocks.
    pub fn fits_bf16(&self, name: &str) -> Result<bool> {
        let Some((part, info)) = self.find(name) else {
            return Ok(false); // the loader reports that it is missing
        };
        let format = match info.ggml_dtype {
            GgmlDType::F32 => FileFormat::F32,
            GgmlDType::F16 => FileFormat::F16,
            other => return Ok(other == GgmlDType::BF16),
        };
        let start = part.content.tensor_data_offset.saturating_add(info.offset);
        format
            .fits_bf16(part.file.get_ref(), start, info.shape.elem_count())
            .map_err(|e| Error::at(&part.path, format!("tensor {name} cannot be read: {e}")))
    }

    /// Reads the weights of the model that the header describes.
    pub fn read_weights(
        mut self,
        config: &Config,
        device: &Device,
        plan: StoragePlan,
    ) -> Result<CausalLm> {
        let mut n_read = self.n_others;
        let model = CausalLm::build(config, device, |param| {
            n_read += 1;
            let stored = self.read(param)?;
            let weight = match rotated_heads(config, param.slot) {
                Some(heads) if config.family.gguf_head_rows == HeadRows::Pairs => {
                    rows_in_halves(&stored, heads)?
                }
                _ => stored,
            };
            plan.convert(param.slot, weight, device)
        })?;
        let n_stored = self
            .parts
            .iter()
            .map(|part| part.content.tensor_infos.len());
        if n_read != n_stored.sum::<usize>() {
            return Err(unexpected(&self.parts, config));
        }
        Ok(model)
    }

    /// A matrix in quantised blocks as it is, everything else as f32.
    fn read(&mut self, param: &ModelParam) -> Result<Tensor> {
        let name = &param.gguf_name;
        let has = |part: &Part| part.content.tensor_infos.contains_key(name);
        let at =
            self.parts.iter().position(has).ok_or_else(|| {
                Error::at(&self.parts[0].path, format!("tensor {name} is missing"))
            })?;
        let Part {
            path,
            file,
            content,
        } = &mut self.parts[at];
        let path = path.as_path();
        check_shape(
            path,
            name,
            content.tensor_infos[name].shape.dims(),
            &param.shape,
        )?;
        let stored = content.tensor(file, name, &Device::Cpu);
        let read = stored.and_then(|stored| expanded(&stored)).map_err(|e| {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            Error::at(path, format!("tensor {name} cannot be read: {line}"))
        })?;
        match QuantisedBlocks::of(&read) {
            // finite scales make finite numbers
            Some(blocks) => {
                if let Some((block, scale)) = blocks.bad_scale(&read)? {
                    return Err(not_finite(path, name, block * blocks.numbers(), scale));
                }
            }
            None => check_finite(path, name, &read.flatten_all()?.to_vec1::<f32>()?)?,
        }
        Ok(read)
    }
}

/// The error that names a tensor which the model's description does not have.
fn unexpected(parts: &[Part], config: &Config) -> Error {
    let params = params(config);
    let known = |name: &str| {
        let factors = [ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS];
        factors.contains(&name) || params.iter().any(|p| p.gguf_name == name)
    };
    let names = parts.iter().flat_map(|part| {
        let names = part.content.tensor_infos.keys().map(String::as_str);
        names.map(move |name| (name, part))
    });
    let extra = names.filter(|(name, _)| !known(name));
    let extra = extra.min_by_key(|(name, _)| *name);
    let (name, part) = extra.unwrap_or(("", &parts[0]));
    Error::at(
        &part.path,
        format!(
            "unexpected tensor {name}; this is not the {} model that its metadata describes",
            config.family.gguf_architecture
        ),
    )
}

/// The number of heads in a parameter whose rows are rotated.
fn rotated_heads(config: &Config, slot: Slot) -> Option<usize> {
    match slot {
        Slot::Layer(_, Role::Weight(Module::One(p)) | Role::Bias(Module::One(p))) => match p {
            Projection::Q => Some(config.num_attention_heads),
            Projection::K => Some(config.num_key_value_heads),
            _ => None,
        },
        _ => None,
    }
}

/// The rows of each head in Hugging Face's order, from [`HeadRows::Pairs`].
fn rows_in_halves(weight: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, row) = (weight.dim(0)?, weight.elem_count() / weight.dim(0)?.max(1));
    weight
        .reshape((heads, rows / heads / 2, 2, row))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape(weight.shape())
}

/// The blocks of a ggml format; formats that ggml only computes with have none.
fn blocks_of(dtype: GgmlDType) -> Option<QuantisedBlocks> {
    QuantisedBlocks::ALL.into_iter().find(|b| b.ggml() == dtype)
}

fn expanded(stored: &QTensor) -> candle_core::Result<Tensor> {
    match (blocks_of(stored.dtype()), stored.shape().dims()) {
        (Some(blocks), [rows, width]) => {
            blocks.weight(&stored.data()?, (*rows, *width), &Device::Cpu)
        }
        _ => stored.dequantize(&Device::Cpu),
    }
}
