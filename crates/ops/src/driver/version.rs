//! The version of the CUDA driver.

use candle_core::cuda_backend::cudarc::driver::sys;

/// The newest CUDA version that the driver supports. Does not initialise it.
pub(super) fn version() -> Option<u32> {
    let mut version = 0;
    // SAFETY: the driver writes one integer
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    let answered = status == sys::CUresult::CUDA_SUCCESS && version > 0;
    answered.then_some(version as u32)
}
