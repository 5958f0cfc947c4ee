//! Writing rows as a composition of candle's operations: the reference of the tests, and what
//! devices and dtypes without a fused form run.

use candle_core::{Result, Tensor};

/// [`crate::scatter_rows`] on any device.
pub fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    let src = src.detach().contiguous()?;
    for (i, row) in rows.iter().enumerate() {
        store.slice_set(&src.narrow(0, i, 1)?.contiguous()?, 0, *row)?;
    }
    Ok(())
}
