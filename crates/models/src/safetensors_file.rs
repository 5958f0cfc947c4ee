//! Safetensors files, one tensor in memory at a time. Reads f32, f16 and bf16 into f32; a corrupt
//! file is an error that names it. Format: 8 bytes of header length, the header in JSON, the data.

use crate::bf16_exact::FileFormat;
use crate::hf_files::is_there;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use ops::QuantisedBlocks;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use strict_json::StrictValue;

/// Headers of the largest models are a few MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The first bytes of a Git LFS pointer, which a clone has where it did not fetch the content.
const POINTER: &[u8] = b"version https://git-lfs";

/// An open file whose header was checked against its length.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    data_start: u64,
}

impl SafetensorsFile {
    pub fn open(path: &Path) -> Result<Self> {
        let corrupt = |what: &dyn std::fmt::Display| {
            Error::at(
                path,
                format!("corrupt or truncated safetensors file ({what}); fetch it again"),
            )
        };
        is_there(path)?; // to open a pipe would block
        if is_pointer(path) {
            let what = "is a pointer of Git LFS, not the weights; fetch them with `git lfs pull`";
            return Err(Error::at(path, what));
        }
        let mut file = File::open(path).map_err(Error::io(path))?;
        let n_bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut n_header = [0; 8];
        if n_bytes < 8 {
            return Err(corrupt(&format!("{n_bytes} bytes")));
        }
        file.read_exact(&mut n_header).map_err(Error::io(path))?;
        let n_header = u64::from_le_bytes(n_header);
        if n_header > MAX_HEADER_BYTES.min(n_bytes - 8) {
            return Err(corrupt(&"header longer than the file"));
        }
        let mut header = vec![0; n_header as usize];
        file.read_exact(&mut header).map_err(Error::io(path))?;
        let header: Metadata = match serde_json::from_slice(&header) {
            Ok(StrictValue(header)) => serde_json::from_value(header).map_err(|e| corrupt(&e))?,
            Err(e) => return Err(corrupt(&strict_json::problem(&e))),
        };
        let data_start = 8 + n_header;
        let wanted = data_start + header.data_len() as u64;
        if wanted != n_bytes {
            return Err(corrupt(&format!("{n_bytes} bytes instead of {wanted}")));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            header,
            data_start,
        })
    }

    /// A value of the header's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let metadata = self.header.metadata().as_ref()?;
        metadata.get(key).map(String::as_str)
    }

    /// Tensor names in the order of the data.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.header
            .info(name)
            .ok_or_else(|| Error::at(&self.path, format!("tensor {name} is missing")))
    }

    /// Whether bf16 holds every number of a tensor exactly.
    pub fn fits_bf16(&self, name: &str) -> Result<bool> {
        let info = self.info(name)?;
        let format = match info.dtype {
            Dtype::F32 => FileFormat::F32,
            Dtype::F16 => FileFormat::F16,
            Dtype::F64 => FileFormat::F64,
            other => return Ok(other == Dtype::BF16),
        };
        let start = self.data_start + info.data_offsets.0 as u64;
        let n = info.shape.iter().product();
        format
            .fits_bf16(&self.file, start, n)
            .map_err(Error::io(&self.path))
    }

    /// Whether a tensor holds the numbers of another one, in another file or this one.
    pub fn equal(&self, name: &str, other: &Self, other_name: &str) -> Result<bool> {
        let (a, b) = (self.info(name)?, other.info(other_name)?);
        if a.shape != b.shape {
            return Ok(false);
        }
        if a.dtype != b.dtype {
            let a = self.read(name, &Device::Cpu)?.flatten_all()?;
            let b = other.read(other_name, &Device::Cpu)?.flatten_all()?;
            return Ok(a.to_vec1::<f32>()? == b.to_vec1::<f32>()?);
        }
        const PIECE: usize = 1 << 20;
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        let n = a.data_offsets.1 - a.data_offsets.0;
        for at in (0..n).step_by(PIECE) {
            let len = PIECE.min(n - at);
            let fill = |file: &Self, info: &TensorInfo, piece: &mut Vec<u8>| {
                let start = file.data_start + (info.data_offsets.0 + at) as u64;
                let read = file.file.read_exact_at(&mut piece[..len], start);
                read.map_err(Error::io(&file.path))
            };
            fill(self, a, &mut left)?;
            fill(other, b, &mut right)?;
            if left[..len] != right[..len] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn read_all(&self, device: &Device) -> Result<HashMap<String, Tensor>> {
        let names = self.names().into_iter();
        let tensors = names.map(|name| {
            let tensor = self.read(&name, device)?;
            Ok((name, tensor))
        });
        tensors.collect()
    }

    /// One tensor as f32.
    pub fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let info = self.info(name)?;
        let (dtype, shape, (start, end)) = (info.dtype, info.shape.clone(), info.data_offsets);
        let mut data = vec![0; end - start];
        let start = self.data_start + start as u64;
        let read = self.file.read_exact_at(&mut data, start);
        read.map_err(Error::io(&self.path))?;
        let values: Vec<f32> = match dtype {
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            // rounded, as transformers does for a model in f32
            Dtype::F64 => {
                let (numbers, _) = data.as_chunks::<8>();
                let wide = numbers.iter().map(|b| f64::from_le_bytes(*b));
                wide.map(|value| value as f32).collect()
            }
            Dtype::F16 => data
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            Dtype::BF16 => data
                .chunks_exact(2)
                .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            other => {
                return Err(Error::at(
                    &self.path,
                    format!("tensor {name} is {other:?}; f64, f32, f16 and bf16 can be read"),
                ));
            }
        };
        check_finite(&self.path, name, &values)?;
        Ok(Tensor::from_vec(values, shape, device)?)
    }
}

/// An error that names the tensor and the first of its numbers that is NaN or infinite. With such a
/// weight every score and every answer would be meaningless.
pub(crate) fn check_finite(file: &Path, name: &str, values: &[f32]) -> Result<()> {
    // A fold over all numbers is vectorised; a search that may stop is not.
    if values.iter().fold(true, |ok, v| ok & v.is_finite()) {
        return Ok(());
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(not_finite(file, name, at, values[at])),
        None => Ok(()),
    }
}

/// The error for a tensor whose number `at` is `value`.
pub(crate) fn not_finite(file: &Path, name: &str, at: usize, value: f32) -> Error {
    let what = format!(
        "tensor {name} holds {value} (number {at}); the file is damaged or its training diverged, \
         use another copy or an earlier checkpoint"
    );
    Error::at(file, what)
}

/// Whether a file is a Git LFS pointer to weights that were not fetched.
pub(crate) fn is_pointer(path: &Path) -> bool {
    let mut begin = [0; POINTER.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == POINTER
}

/// Every tensor of a small file, as f32.
pub(crate) fn read_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    SafetensorsFile::open(path)?.read_all(device)
}

/// Writes tensors as f32 in the order of their names; quantised blocks are expanded. `metadata`
/// goes into the header beside the format that transformers looks for.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let as_it_is = |_: &str, tensor: &Tensor| Ok(tensor.clone());
    write_changed(path, tensors, metadata, WrittenDtype::F32, &as_it_is)
}

/// The type of written numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenDtype {
    F32,
    /// Rounded to the nearest
    Bf16,
}

impl WrittenDtype {
    /// In a safetensors header, in config.json, and bytes of a number
    fn facts(self) -> (&'static str, &'static str, usize) {
        match self {
            Self::F32 => ("F32", "float32", 4),
            Self::Bf16 => ("BF16", "bfloat16", 2),
        }
    }

    /// Its name in config.json.
    pub(crate) fn name(self) -> &'static str {
        self.facts().1
    }
}

/// Writes what `change` makes of each tensor, of the same shape. One result is in memory at a time.
pub(crate) fn write_changed(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &[(&str, &str)],
    dtype: WrittenDtype,
    change: &dyn Fn(&str, &Tensor) -> Result<Tensor>,
) -> Result<()> {
    let (dtype_name, _, n_bytes) = dtype.facts();
    let mut tensors: Vec<&(String, Tensor)> = tensors.iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut header = json!({"__metadata__": {"format": "pt"}});
    for (key, value) in metadata {
        header["__metadata__"][*key] = json!(value);
    }
    let mut end = 0;
    for (name, tensor) in &tensors {
        let start = end;
        let shape = match (QuantisedBlocks::of(tensor), tensor.dims()) {
            (Some(blocks), [rows, n, _]) => vec![*rows, n * blocks.numbers()],
            (_, dims) => dims.to_vec(),
        };
        end += n_bytes * shape.iter().product::<usize>();
        header[name] = json!({"dtype": dtype_name, "shape": shape, "data_offsets": [start, end]});
    }
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = BufWriter::new(File::create(path).map_err(Error::io(path))?);
    let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path));
    write(&(header.len() as u64).to_le_bytes())?;
    write(&header)?;
    for (name, tensor) in tensors {
        let values = ops::widened(&change(name, tensor)?)?.to_dtype(DType::F32)?;
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        for value in values {
            match dtype {
                WrittenDtype::F32 => write(&value.to_le_bytes())?,
                WrittenDtype::Bf16 => write(&bf16::from_f32(value).to_le_bytes())?,
            }
        }
    }
    file.flush().map_err(Error::io(path))
}
