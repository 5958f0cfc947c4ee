//! A fault in a chosen step, for tests of the errors and files that a failed run leaves. Only
//! builds with the cargo feature `fault-injection` can inject one; in every other build
//! [`injected_fault`] is an empty inline function.

use candle_core::Result;

#[cfg(feature = "fault-injection")]
thread_local! {
    static OUT_OF_MEMORY_AT: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// From now on, step `step` fails on this thread as it does on a GPU that is out of memory. None:
/// no step fails.
#[cfg(feature = "fault-injection")]
pub fn inject_out_of_memory(step: Option<u64>) {
    OUT_OF_MEMORY_AT.set(step);
}

/// The error injected into `step`, if any.
#[cfg(feature = "fault-injection")]
pub fn injected_fault(step: u64) -> Result<()> {
    match OUT_OF_MEMORY_AT.get() {
        Some(at) if at == step => {
            let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
            Err(candle_core::Error::Cuda(text.into()).bt())
        }
        _ => Ok(()),
    }
}

/// Nothing: this build injects no faults.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn injected_fault(_step: u64) -> Result<()> {
    Ok(())
}
