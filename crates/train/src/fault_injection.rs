//! A fault planted in a step, for tests of what a run then says and leaves behind.

use candle_core::{Error, Result};
use std::cell::Cell;

thread_local! {
    static FULL_AT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on, the step of this number fails on this thread as it does where the card is full.
pub fn inject_out_of_memory(step: Option<u64>) {
    FULL_AT.set(step);
}

/// The fault, where one was planted in `step`.
pub fn injected_fault(step: u64) -> Result<()> {
    match FULL_AT.get() {
        Some(at) if at == step => {
            let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
            Err(Error::Cuda(text.into()).bt())
        }
        _ => Ok(()),
    }
}
