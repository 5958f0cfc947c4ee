//! What the CUDA driver reports about itself, the GPUs and their memory. `policy` uses it to choose
//! a device. Without `--features cuda` there is no driver to ask.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod libraries;
mod machine;
#[cfg(feature = "cuda")]
mod version;

pub use machine::{Gpu, GpuMemory, Machine, Needs};

/// The machine, asked once per process. `None`: this binary was built without CUDA.
pub fn machine() -> Option<&'static Machine> {
    #[cfg(feature = "cuda")]
    {
        static MACHINE: std::sync::OnceLock<Machine> = std::sync::OnceLock::new();
        Some(MACHINE.get_or_init(cuda::machine))
    }
    #[cfg(not(feature = "cuda"))]
    None
}

/// Sets two options of a GPU once: freed memory stays in the pool that tensors come from (else it
/// returns to the driver at each synchronisation, that is, at every decoded token), and cuBLAS adds
/// partial sums in f32. Other devices: nothing.
pub fn prepare(device: &candle_core::Device) {
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = device {
        cuda::prepare(device);
    }
    let _ = device;
}

/// The current memory use of a GPU. `None` for other devices.
pub fn memory(device: &candle_core::Device) -> Option<GpuMemory> {
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = device {
        return cuda::memory(device);
    }
    let _ = device;
    None
}
