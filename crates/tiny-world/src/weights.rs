//! Rounds the base model's f32 weights to bf16, which halves the file.

use anyhow::{Context, Result, bail};
use half::bf16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::Path;

/// Reads a safetensors file of f32 and writes it in bf16 (to nearest, ties to even) with the same
/// names and shapes.
pub fn round(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a valid safetensors file", from.display()))?;
    let mut rounded = Vec::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            bail!("{}: {name} is {:?}, not f32", from.display(), view.dtype());
        }
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let data: Vec<u8> = values
            .flat_map(|v| bf16::from_f32(v).to_le_bytes())
            .collect();
        rounded.push((name, view.shape().to_vec(), data));
    }
    let views = rounded
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::BF16, shape.clone(), data)?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(views, None)?;
    std::fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
