//! A base model from one GGUF file: weights in their blocks or as f32, shape, tokenizer, special tokens and chat template from
//! its metadata. Format: ggml's `docs/gguf.md`; names and the permutation of q and k: llama.cpp's `convert_hf_to_gguf.py`.

use crate::gguf_config::{Meta, ROPE_FACTORS, config};
use crate::gguf_head;
use crate::gguf_tokens::{chat_template, special, tokenizer};
use crate::load::check_shape;
use crate::proj::Proj;
use crate::tokens::prepare;
use crate::weight_storage::{WeightStorage, Wide};
use crate::{BaseWeights, CausalLm, Config, Error, Result, Special};
use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use ops::Blocks;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// The metadata of a file, read; the weights not yet.
pub(crate) struct Header {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: Special,
    pub chat_template: Option<String>,
    pub tensors: Tensors,
}

/// The tensors of an open file: where they are.
pub(crate) struct Tensors {
    path: PathBuf,
    file: BufReader<File>,
    content: Content,
    has_rope_factors: bool,
}

impl Header {
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        if gguf_head::has_zero_alignment(&mut file).map_err(Error::io(path))? {
            return Err(Error::at(path, "damaged GGUF file (alignment 0)"));
        }
        let damaged = |e: candle_core::Error| {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            Error::at(
                path,
                match line.strip_prefix("unknown dtype for tensor ") {
                    Some(number) => format!(
                        "holds tensors of ggml's type {number}, which is not read; take a file in f32, f16, bf16, q4_0 to q8_0 or q2_k to q6_k"
                    ),
                    None => format!("damaged or truncated GGUF file ({line}); fetch it again"),
                },
            )
        };
        let content = Content::read(&mut file).map_err(damaged)?;
        refuse_countless(path, &content)?;
        let meta = Meta {
            path,
            content: &content,
        };
        let rope_factors = match content.tensor_infos.contains_key(ROPE_FACTORS) {
            true => Some(
                content
                    .tensor(&mut file, ROPE_FACTORS, &Device::Cpu)
                    .and_then(|t| t.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>())
                    .map_err(damaged)?,
            ),
            false => None,
        };
        let config = config(&meta, rope_factors.as_deref())?;
        let tokenizer = prepare(tokenizer(&meta)?, &config, path)?;
        let special = special(&meta, &tokenizer)?;
        let config = Config {
            bos_token_id: special.bos.as_ref().map(|(id, _)| *id),
            eos_token_id: special.eos.iter().map(|(id, _)| *id).collect(),
            ..config
        };
        Ok(Self {
            chat_template: chat_template(&meta),
            config,
            tokenizer,
            special,
            tensors: Tensors {
                path: path.to_path_buf(),
                has_rope_factors: rope_factors.is_some(),
                file,
                content,
            },
        })
    }
}

impl Tensors {
    /// The blocks that the weight of this Hugging Face name lies in.
    pub fn blocks(&self, hf_name: &str) -> Option<Blocks> {
        let info = self.content.tensor_infos.get(&gguf_name(hf_name))?;
        blocks(info.ggml_dtype)
    }

    /// Whether bf16 holds every number of the weight of this Hugging Face name. Of blocks of integers with their scales it does not.
    pub fn in_bf16(&self, hf_name: &str) -> Result<bool> {
        let name = gguf_name(hf_name);
        let Some(info) = self.content.tensor_infos.get(&name) else {
            return Ok(false); // the loader will say that it is missing
        };
        let wide = match info.ggml_dtype {
            GgmlDType::F32 => Wide::F32,
            GgmlDType::F16 => Wide::F16,
            other => return Ok(other == GgmlDType::BF16),
        };
        let start = self.content.tensor_data_offset.saturating_add(info.offset);
        wide.in_bf16(self.file.get_ref(), start, info.shape.elem_count())
            .map_err(|e| Error::at(&self.path, format!("tensor {name} cannot be read: {e}")))
    }

    /// Of a model of the shape that the header says.
    pub fn read_weights(
        self,
        config: &Config,
        device: &Device,
        keep: WeightStorage,
        projections: BaseWeights,
    ) -> Result<CausalLm> {
        let Self {
            path,
            mut file,
            content,
            has_rope_factors,
        } = self;
        let path = path.as_path();
        let mut n_read = usize::from(has_rope_factors);
        let model = CausalLm::build(config, device, |hf_name, shape| {
            let name = gguf_name(hf_name);
            let info = content
                .tensor_infos
                .get(&name)
                .ok_or_else(|| Error::at(path, format!("tensor {name} is missing")))?;
            check_shape(path, &name, info.shape.dims(), shape)?;
            n_read += 1;
            let weight = content
                .tensor(&mut file, &name, &Device::Cpu)
                .and_then(|stored| read(&stored))
                .map_err(|e| {
                    let text = e.to_string();
                    let line = text.lines().next().unwrap_or_default();
                    Error::at(path, format!("tensor {name} cannot be read: {line}"))
                })?;
            let heads = match () {
                _ if name.ends_with("attn_q.weight") => Some(config.num_attention_heads),
                _ if name.ends_with("attn_k.weight") => Some(config.num_key_value_heads),
                _ => None,
            };
            let weight = match heads {
                Some(heads) => unpermute(&weight, heads)?,
                None => weight,
            };
            keep.keep(projections, hf_name, weight, device)
        })?;
        if n_read != content.tensor_infos.len() {
            let wanted: Vec<String> = model.tensors().iter().map(|(n, _)| gguf_name(n)).collect();
            let mut names: Vec<&String> = content.tensor_infos.keys().collect();
            names.sort();
            let extra = names
                .into_iter()
                .find(|n| *n != ROPE_FACTORS && !wanted.contains(n));
            let extra = extra.map_or("", String::as_str);
            return Err(Error::at(
                path,
                format!("unexpected tensor {extra}; this is not a plain LLaMA"),
            ));
        }
        Ok(model)
    }
}

/// candle multiplies the sides of a tensor without asking whether the product is a number.
fn refuse_countless(path: &Path, content: &Content) -> Result<()> {
    for (name, info) in &content.tensor_infos {
        let sides = info.shape.dims().iter();
        let elements = sides.copied().try_fold(1usize, usize::checked_mul);
        if elements.is_none_or(|n| n > 1 << 48) {
            let what = format!(
                "damaged GGUF file (tensor {name} is {:?})",
                info.shape.dims()
            );
            return Err(Error::at(path, what));
        }
    }
    Ok(())
}

/// The format of a matrix that is stored in blocks; those that ggml only computes with are none.
fn blocks(dtype: GgmlDType) -> Option<Blocks> {
    Blocks::ALL.into_iter().find(|b| b.ggml() == dtype)
}

/// A matrix in blocks as it is, everything else as f32.
fn read(stored: &QTensor) -> candle_core::Result<Tensor> {
    match (blocks(stored.dtype()), stored.shape().dims()) {
        (Some(blocks), [rows, width]) => {
            blocks.weight(&stored.data()?, (*rows, *width), &Device::Cpu)
        }
        _ => stored.dequantize(&Device::Cpu),
    }
}

/// llama.cpp orders the rows of a head as pairs (0, D/2), (1, D/2+1), …; Hugging Face as halves.
fn unpermute(weight: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, row) = (weight.dim(0)?, weight.elem_count() / weight.dim(0)?.max(1));
    weight
        .reshape((heads, rows / heads / 2, 2, row))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape(weight.shape())
}

/// `model.layers.3.self_attn.q_proj.weight` -> `blk.3.attn_q.weight`
fn gguf_name(hf: &str) -> String {
    match hf {
        "model.embed_tokens.weight" => return "token_embd.weight".into(),
        "model.norm.weight" => return "output_norm.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        _ => {}
    }
    let mut parts = hf.trim_start_matches("model.layers.").splitn(2, '.');
    let layer = parts.next().unwrap_or_default();
    let module = parts.next().unwrap_or_default().trim_end_matches(".weight");
    let name = match Proj::ALL.into_iter().find(|p| p.path() == module) {
        Some(Proj::Q) => "attn_q",
        Some(Proj::K) => "attn_k",
        Some(Proj::V) => "attn_v",
        Some(Proj::O) => "attn_output",
        Some(Proj::Gate) => "ffn_gate",
        Some(Proj::Up) => "ffn_up",
        Some(Proj::Down) => "ffn_down",
        None if module == "input_layernorm" => "attn_norm",
        None => "ffn_norm",
    };
    format!("blk.{layer}.{name}.weight")
}
