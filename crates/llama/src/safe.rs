//! Safetensors in and out. Reads f32, f16 and bf16 into f32; a damaged file is an error that names it.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Every tensor of a file, as f32.
pub(crate) fn read_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let mut out = HashMap::new();
    each_tensor(path, |name, view| {
        out.insert(name.to_string(), to_f32(path, name, view, device)?);
        Ok(())
    })?;
    Ok(out)
}

/// Reads the file once and hands out its tensors one by one, so that the file and what was kept of it are all there is.
pub(crate) fn each_tensor(
    path: &Path,
    mut take: impl FnMut(&str, &TensorView) -> Result<()>,
) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        Error::at(
            path,
            format!("damaged or truncated safetensors file ({e}); fetch it again"),
        )
    })?;
    for (name, view) in file.iter() {
        take(name, &view)?;
    }
    Ok(())
}

pub(crate) fn to_f32(
    path: &Path,
    name: &str,
    view: &TensorView,
    device: &Device,
) -> Result<Tensor> {
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
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
                path,
                format!("tensor {name} is {other:?}; f32, f16 and bf16 can be read"),
            ));
        }
    };
    Ok(Tensor::from_vec(values, view.shape(), device)?)
}

/// Writes f32 tensors in the order of their names, with the metadata transformers looks for.
pub(crate) fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let bytes = tensors
        .iter()
        .map(|(name, t)| {
            let values: Vec<f32> = t.detach().flatten_all()?.to_vec1()?;
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Ok((name.as_str(), t.dims().to_vec(), bytes))
        })
        .collect::<Result<Vec<_>>>()?;
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| Error::at(path, e))?;
    let meta = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(views, Some(meta), path).map_err(|e| Error::at(path, e))
}
