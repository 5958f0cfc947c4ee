//! Writing token rows into a cache on a GPU.

use crate::cuda::kernel::Kernel;
use crate::cuda::upload::upload;
use crate::cuda::view::{OpenTensor, ViewMut, from_storage, modify};
use crate::rope::Rotation;
use candle_core::{Result, Tensor, bail};

const THREADS: usize = 128;

pub(super) fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    let ((size, width), (n, src_width)) = (store.dims2()?, src.dims2()?);
    let bytes = width * store.dtype().size_in_bytes();
    let fits = width == src_width && n == rows.len() && rows.iter().all(|r| *r < size);
    if !fits || !bytes.is_multiple_of(4) || store.dtype() != src.dtype() {
        bail!(
            "scatter_rows: {} row numbers and rows {:?} do not fit the store {:?}",
            rows.len(),
            src.dims(),
            store.dims()
        )
    }
    let rows = rows.iter().map(|row| *row as u32).collect();
    let (src, rows) = (src.detach().contiguous()?, upload(rows, src.device())?);
    let (src, rows) = (OpenTensor::of(&src), OpenTensor::of(&rows));
    modify(store, |store| {
        Kernel::new("scatter_rows", (n, 1), THREADS)
            .write(store)
            .read(src.view()?)
            .read(rows.view()?)
            .u32(bytes / 4)
            .launch()
    })
}

/// One thread block for each token.
pub(super) fn rotate_into(
    [q, k, v]: [&Tensor; 3],
    rotation: Rotation,
    (keys, values): (&Tensor, &Tensor),
    rows: &[usize],
) -> Result<Tensor> {
    let ((n, width), (size, kv_width)) = (q.dims2()?, keys.dims2()?);
    let half = rotation.check(n, &[width, kv_width])?;
    let shapes = k.dims() == [n, kv_width] && v.dims() == k.dims() && values.dims() == keys.dims();
    if !shapes || rows.len() != n || rows.iter().any(|r| *r >= size) {
        bail!(
            "rotate_into: q {:?}, k {:?}, v {:?} and {} row numbers do not fit stores {:?}",
            q.dims(),
            k.dims(),
            v.dims(),
            rows.len(),
            keys.dims()
        )
    }
    let device = q.device();
    let rows = upload(rows.iter().map(|row| *row as u32).collect(), device)?;
    let positions = upload(rotation.positions.to_vec(), device)?;
    let (cos, sin) = rotation.tables;
    let [q, k, v] = [q.contiguous()?, k.contiguous()?, v.contiguous()?];
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    let [q, k, v, cos, sin] = [&q, &k, &v, &cos, &sin].map(OpenTensor::of);
    let (rows, positions) = (OpenTensor::of(&rows), OpenTensor::of(&positions));
    let q = q.view()?;
    let mut rotated = q.alloc(q.dtype(), n * width)?;
    modify(keys, |keys| {
        modify(values, |values| {
            let name = format!("rotate_into_{}", q.dtype().as_str());
            Kernel::new(name, (n, 1), THREADS)
                .read(q)
                .read(k.view()?)
                .read(v.view()?)
                .read(cos.view()?)
                .read(sin.view()?)
                .read(positions.view()?)
                .read(rows.view()?)
                .write(ViewMut::of(&mut rotated))
                .write(keys)
                .write(values)
                .u32(width)
                .u32(kv_width)
                .u32(rotation.head_dim)
                .u32(half)
                .launch()
        })
    })?;
    Ok(from_storage(rotated, (n, width)))
}
