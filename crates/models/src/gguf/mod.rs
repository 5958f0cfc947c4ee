//! A base model from one GGUF file. Shape, tokenizer, special tokens and chat template come from
//! its metadata; weights stay in quantised blocks or become f32. Format: ggml's `docs/gguf.md`;
//! names and the order of the rows of q and k: llama.cpp's `convert_hf_to_gguf.py`.

mod alignment;
mod config;
mod metadata;
mod tensors;
mod tokenizer;

pub(crate) use tensors::Tensors;

use crate::hf_tokenizer::prepare;
use crate::{Config, Error, Result, SpecialTokens};
use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use config::{ROPE_FACTORS, config};
use metadata::Metadata;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use tokenizer::{chat_template, special, tokenizer};
use tokenizers::Tokenizer;

/// The metadata of a file, and where its weights are.
pub(crate) struct Header {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    pub chat_template: Option<String>,
    pub tensors: Tensors,
}

impl Header {
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        if alignment::has_zero_alignment(&mut file).map_err(Error::io(path))? {
            return Err(Error::at(path, "corrupt GGUF file (alignment 0)"));
        }
        let corrupt = |e: candle_core::Error| {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            Error::at(
                path,
                match line.strip_prefix("unknown dtype for tensor ") {
                    Some(number) => format!(
                        "holds tensors of ggml's type {number}, which is not read; take a file in f32, f16, bf16, q4_0 to q8_0 or q2_k to q6_k"
                    ),
                    None => format!("corrupt or truncated GGUF file ({line}); fetch it again"),
                },
            )
        };
        let content = Content::read(&mut file).map_err(corrupt)?;
        refuse_repeated(path, &mut file, &content)?;
        refuse_countless(path, &content)?;
        let meta = Metadata {
            path,
            content: &content,
        };
        let rope_factors = match content.tensor_infos.contains_key(ROPE_FACTORS) {
            true => Some(
                content
                    .tensor(&mut file, ROPE_FACTORS, &Device::Cpu)
                    .and_then(|t| t.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>())
                    .map_err(corrupt)?,
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
                n_others: usize::from(rope_factors.is_some()),
                file,
                content,
            },
        })
    }
}

/// Refuses a file that names a key of its metadata or a tensor twice, of which candle keeps one.
fn refuse_repeated(path: &Path, file: &mut (impl Read + Seek), content: &Content) -> Result<()> {
    let mut header = [0; 24];
    file.rewind().map_err(Error::io(path))?;
    file.read_exact(&mut header).map_err(Error::io(path))?;
    // magic, version, number of tensors, number of keys; the numbers of version 1 have 4 bytes
    let width = if header[4] == 1 { 4 } else { 8 };
    let number = |from: usize| {
        let bytes = header[from..from + width].iter().rev();
        bytes.fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let (n_tensors, n_keys) = (number(8), number(8 + width));
    for (what, n, n_kept) in [
        ("tensor", n_tensors, content.tensor_infos.len()),
        ("key of its metadata", n_keys, content.metadata.len()),
    ] {
        if n != n_kept as u64 {
            let what = format!("corrupt GGUF file (a {what} is there twice); convert it again");
            return Err(Error::at(path, what));
        }
    }
    Ok(())
}

/// Refuses shapes whose product overflows, which candle would compute unchecked.
fn refuse_countless(path: &Path, content: &Content) -> Result<()> {
    for (name, info) in &content.tensor_infos {
        let sides = info.shape.dims().iter();
        let elements = sides.copied().try_fold(1usize, usize::checked_mul);
        if elements.is_none_or(|n| n > 1 << 48) {
            let what = format!(
                "corrupt GGUF file (tensor {name} is {:?})",
                info.shape.dims()
            );
            return Err(Error::at(path, what));
        }
    }
    Ok(())
}
