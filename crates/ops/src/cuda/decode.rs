//! A token of each sequence against its cache.

use crate::attention::Dims;
use crate::cuda::launch::Launch;
use crate::cuda::place::{Open, Target, change, tensor};
use crate::cuda::upload::upload;
use crate::rope::fits;
use candle_core::{Result, Tensor, bail};

const THREADS: usize = 128;

pub(crate) fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
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
    let (src, rows) = (Open::of(&src), Open::of(&rows));
    change(store, |store| {
        Launch::new("scatter_rows", (n, 1), THREADS)
            .write(store)
            .read(src.view()?)
            .read(rows.view()?)
            .u32(bytes / 4)
            .run()
    })
}

pub(crate) fn rotate_into(
    [q, k, v]: [&Tensor; 3],
    (cos, sin): (&Tensor, &Tensor),
    positions: &[u32],
    (keys, values): (&Tensor, &Tensor),
    rows: &[usize],
) -> Result<Tensor> {
    let ((n, width), (size, kv_width)) = (q.dims2()?, keys.dims2()?);
    let half = fits(n, (cos, sin), positions)?;
    let whole = width % (2 * half) == 0 && kv_width % (2 * half) == 0;
    let shapes = k.dims() == [n, kv_width] && v.dims() == k.dims() && values.dims() == keys.dims();
    if !whole || !shapes || rows.len() != n || rows.iter().any(|r| *r >= size) {
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
    let positions = upload(positions.to_vec(), device)?;
    let [q, k, v] = [q.contiguous()?, k.contiguous()?, v.contiguous()?];
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    let [q, k, v, cos, sin] = [&q, &k, &v, &cos, &sin].map(Open::of);
    let (rows, positions) = (Open::of(&rows), Open::of(&positions));
    let q = q.view()?;
    let mut turned = q.room(q.dtype(), n * width)?;
    change(keys, |keys| {
        change(values, |values| {
            Launch::new(
                format!("rotate_into_{}", q.dtype().as_str()),
                (n, 1),
                THREADS,
            )
            .read(q)
            .read(k.view()?)
            .read(v.view()?)
            .read(cos.view()?)
            .read(sin.view()?)
            .read(positions.view()?)
            .read(rows.view()?)
            .write(Target::of(&mut turned))
            .write(keys)
            .write(values)
            .u32(width)
            .u32(kv_width)
            .u32(half)
            .run()
        })
    })?;
    Ok(tensor(turned, (n, width)))
}

pub(crate) fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    head_dim: usize,
) -> Result<Tensor> {
    let ((n, width), (size, _)) = (q.dims2()?, keys.dims2()?);
    let dims = Dims::of_widths(q, keys, values, head_dim)?;
    let within = |spans: &Vec<(usize, usize)>| {
        let longest = spans.iter().map(|(_, len)| len).sum::<usize>();
        longest > 0 && spans.iter().all(|(start, len)| start + len <= size)
    };
    if spans.len() != n || !spans.iter().all(within) {
        bail!(
            "cached_attention: {n} queries and {} lists of spans do not fit {size} rows",
            spans.len()
        )
    }
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
    let (x, keys, values) = (Open::of(&q), Open::of(keys), Open::of(values));
    let (firsts, runs, heads) = (Open::of(&firsts), Open::of(&runs), width / head_dim);
    let x = x.view()?;
    let mut out = x.room(x.dtype(), n * width)?;
    let name = format!("cached_attention_{head_dim}_{}", x.dtype().as_str());
    Launch::new(name, (n, heads), THREADS)
        .read(x)
        .read(keys.view()?)
        .read(values.view()?)
        .read(firsts.view()?)
        .read(runs.view()?)
        .write(Target::of(&mut out))
        .u32(heads)
        .u32(dims.groups())
        .f32(dims.scale())
        .run()?;
    Ok(tensor(out, (n, width)))
}
