//! Writing token rows into a cache in main memory.

use crate::cpu;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

pub(crate) fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    let ((size, width), (n, src_width)) = (store.dims2()?, src.dims2()?);
    if width != src_width || n != rows.len() || rows.iter().any(|r| *r >= size) {
        bail!(
            "scatter_rows: {} row numbers and rows {:?} do not fit the store {:?}",
            rows.len(),
            src.dims(),
            store.dims()
        )
    }
    store.inplace_op2(&src.contiguous()?, &Scatter { rows })
}

struct Scatter<'a> {
    rows: &'a [usize],
}

impl InplaceOp2 for Scatter<'_> {
    fn name(&self) -> &'static str {
        "scatter-rows"
    }

    fn cpu_fwd(
        &self,
        store: &mut CpuStorage,
        layout: &Layout,
        src: &CpuStorage,
        src_layout: &Layout,
    ) -> Result<()> {
        let (src, width) = (cpu::slice(src, src_layout)?, layout.dims()[1]);
        let (CpuStorage::F32(store), Some((start, _))) = (store, layout.contiguous_offsets())
        else {
            bail!("scatter_rows: the store is not contiguous f32")
        };
        for (i, row) in self.rows.iter().enumerate() {
            let at = start + row * width;
            store[at..at + width].copy_from_slice(&src[i * width..(i + 1) * width]);
        }
        Ok(())
    }
}
