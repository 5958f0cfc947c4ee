//! A base model from one GGUF file: weights dequantised to f32, shape, tokenizer, special tokens and chat template from
//! its metadata. Format: ggml's `docs/gguf.md`; names and the permutation of q and k: llama.cpp's `convert_hf_to_gguf.py`.

use crate::exact::as_kept;
use crate::gguf_head;
use crate::gguf_tokens::{chat_template, special, tokenizer};
use crate::load::check_shape;
use crate::proj::Proj;
use crate::tokens::prepare;
use crate::{Config, Error, Llama, Result, RopeScaling, Special};
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// Factors by which llama.cpp's converter divides Llama 3.1's frequencies.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The metadata of a file, read; the weights not yet.
pub(crate) struct Header {
    path: PathBuf,
    file: BufReader<File>,
    content: Content,
    has_rope_factors: bool,
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: Special,
    pub chat_template: Option<String>,
}

impl Header {
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        if gguf_head::has_zero_alignment(&mut file).map_err(Error::io(path))? {
            return Err(Error::at(path, "damaged GGUF file (alignment 0)"));
        }
        let damaged = |e: candle_core::Error| {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default().to_string();
            Error::at(
                path,
                format!("damaged or truncated GGUF file ({line}); fetch it again"),
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
            path: path.to_path_buf(),
            has_rope_factors: rope_factors.is_some(),
            chat_template: chat_template(&meta),
            file,
            config,
            tokenizer,
            special,
            content,
        })
    }

    /// Whether the weight of this Hugging Face name lies in bf16.
    pub fn is_bf16(&self, hf_name: &str) -> bool {
        let info = self.content.tensor_infos.get(&gguf_name(hf_name));
        info.is_some_and(|info| info.ggml_dtype == GgmlDType::BF16)
    }

    pub fn read_weights(self, device: &Device) -> Result<Llama> {
        let Self {
            path,
            mut file,
            content,
            config,
            ..
        } = self;
        let path = path.as_path();
        let mut n_read = usize::from(self.has_rope_factors);
        let model = Llama::build(&config, device, |hf_name, shape| {
            let name = gguf_name(hf_name);
            let info = content
                .tensor_infos
                .get(&name)
                .ok_or_else(|| Error::at(path, format!("tensor {name} is missing")))?;
            check_shape(path, &name, info.shape.dims(), shape)?;
            n_read += 1;
            let weight = content
                .tensor(&mut file, &name, device)
                .and_then(|t| t.dequantize(device))
                .map_err(|e| {
                    let text = e.to_string();
                    let line = text.lines().next().unwrap_or_default();
                    Error::at(path, format!("tensor {name} cannot be read: {line}"))
                })?;
            let heads = match () {
                _ if name.ends_with("attn_q.weight") => config.num_attention_heads,
                _ if name.ends_with("attn_k.weight") => config.num_key_value_heads,
                _ => return Ok(as_kept(weight)?),
            };
            Ok(as_kept(unpermute(&weight, heads)?)?)
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

/// llama.cpp orders the rows of a head as pairs (0, D/2), (1, D/2+1), …; Hugging Face as halves.
fn unpermute(weight: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (rows, cols) = weight.dims2()?;
    weight
        .reshape((heads, rows / heads / 2, 2, cols))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((rows, cols))
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

/// Typed look-up in the metadata.
pub(crate) struct Meta<'a> {
    pub path: &'a Path,
    pub content: &'a Content,
}

impl<'a> Meta<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.content.metadata.get(key)
    }

    pub fn uint(&self, key: &str) -> Result<Option<u64>> {
        self.get(key)
            .map(|v| {
                let small = |v: i64| u64::try_from(v).ok();
                let number = match v {
                    Value::U8(v) => Some(u64::from(*v)),
                    Value::U16(v) => Some(u64::from(*v)),
                    Value::U32(v) => Some(u64::from(*v)),
                    Value::U64(v) => Some(*v),
                    Value::I8(v) => small(i64::from(*v)),
                    Value::I16(v) => small(i64::from(*v)),
                    Value::I32(v) => small(i64::from(*v)),
                    Value::I64(v) => small(*v),
                    _ => None,
                };
                number.ok_or_else(|| self.wrong(key, "not a whole number"))
            })
            .transpose()
    }

    fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        match self.uint(key)? {
            None => Ok(None),
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            Some(_) => Err(self.wrong(key, "out of range")),
        }
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?
            .ok_or_else(|| self.wrong(key, "missing"))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|v| match v {
                Value::F32(v) => Ok(f64::from(*v)),
                Value::F64(v) => Ok(*v),
                _ => Err(self.wrong(key, "not a number")),
            })
            .transpose()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(on) => Some(*on),
            _ => None,
        }
    }

    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "not a list")),
        }
    }

    pub fn wrong(&self, key: &str, what: &str) -> Error {
        Error::at(self.path, format!("metadata {key} is {what}"))
    }
}

fn config(meta: &Meta, rope_factors: Option<&[f32]>) -> Result<Config> {
    let refuse = |what: String| Err(Error::at(meta.path, what));
    match meta.text("general.architecture") {
        Some("llama") => {}
        other => {
            return refuse(format!(
                "architecture \"{}\" is not supported; only llama is",
                other.unwrap_or("missing")
            ));
        }
    }
    if meta.uint("llama.expert_count")?.unwrap_or(0) > 0 {
        return refuse("a mixture of experts is not supported".into());
    }
    let hidden_size = meta.size("llama.embedding_length")?;
    let heads = meta.size("llama.attention.head_count")?;
    let head_dim = match meta.opt_size("llama.attention.key_length")? {
        Some(n) => n,
        None => hidden_size / heads,
    };
    if let Some(n) = meta.opt_size("llama.rope.dimension_count")?
        && n != head_dim
    {
        return refuse(format!(
            "rotates {n} of {head_dim} dimensions; partial rotation is not supported"
        ));
    }
    let vocab_size = match meta.content.tensor_infos.get("token_embd.weight") {
        Some(info) => info.shape.dims().first().copied().unwrap_or(0),
        None => return refuse("tensor token_embd.weight is missing".into()),
    };
    let max_position_embeddings = meta.size("llama.context_length")?;
    let mut config = Config {
        vocab_size,
        hidden_size,
        intermediate_size: meta.size("llama.feed_forward_length")?,
        num_hidden_layers: meta.size("llama.block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: meta
            .opt_size("llama.attention.head_count_kv")?
            .unwrap_or(heads),
        head_dim,
        rms_norm_eps: shortest(
            meta.number("llama.attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| meta.wrong("llama.attention.layer_norm_rms_epsilon", "missing"))?,
        ),
        max_position_embeddings,
        tie_word_embeddings: !meta.content.tensor_infos.contains_key("output.weight"),
        rope_theta: meta.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: RopeScaling::None,
        bos_token_id: None,
        eos_token_id: Vec::new(),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    config.rope_scaling = match (meta.text("llama.rope.scaling.type"), rope_factors) {
        (None | Some("none"), None) => RopeScaling::None,
        (None | Some("none"), Some(factors)) => llama3_scaling(&config, factors)
            .ok_or_else(|| meta.wrong(ROPE_FACTORS, "not a scaling of Llama 3's kind"))?,
        (Some("linear"), None) => RopeScaling::Linear {
            factor: meta
                .number("llama.rope.scaling.factor")?
                .ok_or_else(|| meta.wrong("llama.rope.scaling.factor", "missing"))?,
        },
        (Some(other), _) => return refuse(format!("RoPE scaling \"{other}\" is not supported")),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    Ok(config)
}

/// The f64 that prints like the f32 it came from: 1e-5 and not 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// The one setting of Llama 3.1 and 3.2 (ramp between wavelengths 8192/4 and 8192/1) whose factors these are.
fn llama3_scaling(config: &Config, factors: &[f32]) -> Option<RopeScaling> {
    // before tables of head_dim are made, which a damaged file may give as anything
    if factors.len() != config.head_dim / 2 {
        return None;
    }
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let scaling = RopeScaling::Llama3 {
        factor: f64::from(factor),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let plain = crate::rope::inv_freq(config);
    let scaled = crate::rope::inv_freq(&Config {
        rope_scaling: scaling.clone(),
        ..config.clone()
    });
    let same = plain
        .iter()
        .zip(&scaled)
        .zip(factors)
        .all(|((p, s), f)| (p / s / f - 1.0).abs() < 1e-3);
    same.then_some(scaling)
}
