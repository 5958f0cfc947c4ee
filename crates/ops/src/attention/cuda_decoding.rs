//! Attention of single tokens over their cache on a GPU, one thread block for each query and head.
//! f32 or bf16.

use super::spec::AttentionSpec;
use crate::cuda::kernel::Kernel;
use crate::cuda::upload::upload;
use crate::cuda::view::{OpenTensor, ViewMut, from_storage};
use candle_core::{Result, Tensor};

const THREADS: usize = 128;

pub(super) fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    spec: AttentionSpec,
) -> Result<Tensor> {
    let (n, width) = q.dims2()?;
    let (mut firsts, mut runs) = (vec![0], Vec::new());
    for spans in spans {
        runs.extend(
            spans
                .iter()
                .flat_map(|(start, len)| [*start as u32, *len as u32]),
        );
        firsts.push(runs.len() as u32 / 2);
    }
    let (q, device) = (q.detach().contiguous()?, q.device());
    let (firsts, runs) = (upload(firsts, device)?, upload(runs, device)?);
    let (x, keys, values) = (
        OpenTensor::of(&q),
        OpenTensor::of(keys),
        OpenTensor::of(values),
    );
    let (firsts, runs, heads) = (OpenTensor::of(&firsts), OpenTensor::of(&runs), spec.heads);
    let x = x.view()?;
    let mut out = x.alloc(x.dtype(), n * width)?;
    let name = format!("cached_attention_{}_{}", spec.head_dim, x.dtype().as_str());
    Kernel::new(name, (n, heads), THREADS)
        .read(x)
        .read(keys.view()?)
        .read(values.view()?)
        .read(firsts.view()?)
        .read(runs.view()?)
        .write(ViewMut::of(&mut out))
        .u32(heads)
        .u32(spec.groups())
        .f32(spec.scale_f32())
        .launch()?;
    Ok(from_storage(out, (n, width)))
}
