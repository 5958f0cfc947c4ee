//! Named tensors in one safetensors file: written aside and renamed into place, names and shapes
//! checked when read.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Writes parameters by name as safetensors.
pub fn save_params(params: &[(String, Var)], file: &Path) -> Result<()> {
    let tensors = params
        .iter()
        .map(|(name, var)| (name.clone(), var.as_detached_tensor()));
    save(tensors.collect(), file)
}

/// Reads parameters in place. An error unless the file holds exactly these names in these shapes.
pub fn load_params(params: &[(String, Var)], file: &Path) -> Result<()> {
    let wanted = params
        .iter()
        .map(|(name, var)| (name.clone(), var.as_detached_tensor()))
        .collect();
    let found = load(&wanted, file)?;
    for (name, var) in params {
        var.set(&found[name])?;
    }
    Ok(())
}

pub(crate) fn save(tensors: BTreeMap<String, Tensor>, file: &Path) -> Result<()> {
    let aside = file.with_extension("safetensors.partial");
    let context = || format!("cannot write {}", file.display());
    candle_core::safetensors::save(&tensors.into_iter().collect(), &aside).with_context(context)?;
    std::fs::rename(&aside, file).with_context(context)
}

/// The tensors of `file`, with the names, shapes, dtypes and devices of `like`.
pub(crate) fn load(
    like: &BTreeMap<String, Tensor>,
    file: &Path,
) -> Result<HashMap<String, Tensor>> {
    let at = file.display();
    let mut found = candle_core::safetensors::load(file, &Device::Cpu)
        .with_context(|| format!("cannot read {at}"))?;
    for (name, like) in like {
        let Some(tensor) = found.remove(name) else {
            bail!("{at}: tensor {name} is missing; the checkpoint is of another model or adapter");
        };
        if tensor.shape() != like.shape() {
            bail!(
                "{at}: tensor {name} has shape {:?}, this run needs {:?}",
                tensor.dims(),
                like.dims()
            );
        }
        let dtype = like.dtype();
        let tensor = if tensor.dtype() == dtype || dtype != DType::F32 {
            tensor.to_dtype(dtype)?
        } else {
            bail!(
                "{at}: tensor {name} is {:?}, this run needs {dtype:?}",
                tensor.dtype()
            );
        };
        if dtype.is_float() {
            let wide = tensor.to_dtype(DType::F32)?.flatten_all()?;
            let bad = wide.to_vec1::<f32>()?.into_iter().find(|v| !v.is_finite());
            if let Some(bad) = bad {
                bail!("{at}: tensor {name} holds {bad}; use an earlier checkpoint");
            }
        }
        found.insert(name.clone(), tensor.to_device(like.device())?);
    }
    if let Some(extra) = found.keys().filter(|name| !like.contains_key(*name)).min() {
        bail!("{at}: tensor {extra} belongs to no parameter of this run");
    }
    Ok(found)
}
