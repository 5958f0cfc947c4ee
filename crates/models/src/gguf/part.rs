//! One GGUF file: its header, read and checked.

use super::alignment;
use crate::{Error, Result};
use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// An open file whose header was read.
pub(crate) struct Part {
    pub path: PathBuf,
    pub file: BufReader<File>,
    pub content: Content,
}

impl Part {
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        if alignment::has_zero_alignment(&mut file).map_err(Error::io(path))? {
            return Err(Error::at(path, "corrupt GGUF file (alignment 0)"));
        }
        let content = Content::read(&mut file).map_err(|e| corrupt(path, &e))?;
        refuse_repeated(path, &mut file, &content)?;
        refuse_countless(path, &content)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            content,
        })
    }

    /// The numbers of a small tensor, if the file has it.
    pub fn numbers(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        if !self.content.tensor_infos.contains_key(name) {
            return Ok(None);
        }
        let read = self.content.tensor(&mut self.file, name, &Device::Cpu);
        let numbers = read.and_then(|t| t.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1());
        Ok(Some(numbers.map_err(|e| corrupt(&self.path, &e))?))
    }
}

fn corrupt(path: &Path, error: &candle_core::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let what = match line.strip_prefix("unknown dtype for tensor ") {
        Some(number) => format!(
            "holds tensors of ggml's type {number}, which is not read; take a file in f32, f16, bf16, q4_0 to q8_0 or q2_k to q6_k"
        ),
        None => format!("corrupt or truncated GGUF file ({line}); fetch it again"),
    };
    Error::at(path, what)
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
