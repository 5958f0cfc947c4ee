//! The queries to the CUDA driver.

use super::libraries::Library;
use super::machine::{Gpu, GpuMemory, Machine, Needs};
use super::version::version;
use crate::cuda::KERNELS;
use candle_core::cuda_backend::cudarc::cublas::sys as cublas;
use candle_core::cuda_backend::cudarc::driver::sys::{
    self, CUdevice_attribute_enum as Attribute, CUmemPool_attribute_enum as Pool,
};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};
use candle_core::cuda_backend::{CudaDevice, kernels};

pub(super) fn machine() -> Machine {
    let [theirs, ours] = [kernels::AFFINE.ptx(), KERNELS]
        .map(|ptx| Needs::of_ptx(ptx).expect("PTX begins with .version and .target"));
    let mut machine = Machine {
        needs: Needs {
            cuda: theirs.cuda.max(ours.cuda),
            capability: theirs.capability.max(ours.capability),
        },
        driver: version(),
        refusal: None,
        gpus: Vec::new(),
        missing: Vec::new(),
    };
    if machine.driver.is_none() {
        return machine;
    }
    match gpus() {
        Ok(gpus) => machine.gpus = gpus,
        Err(e) => machine.refusal = Some(e.to_string()),
    }
    if !machine.gpus.is_empty() {
        let libraries = [Library::Cublas, Library::CublasLt, Library::Curand];
        machine.missing = libraries.into_iter().filter_map(Library::missing).collect();
    }
    machine
}

fn gpus() -> Result<Vec<Gpu>, result::DriverError> {
    match result::init() {
        Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Ok(Vec::new()),
        other => other?,
    }
    let gpu = |number| {
        let device = result::device::get(number)?;
        // SAFETY: the driver is initialised and returned this device
        let attribute = |which| unsafe { result::device::get_attribute(device, which) };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok(Gpu {
            name: result::device::get_name(device)?,
            capability: (10 * major + minor) as u32,
            // SAFETY: as above
            total_bytes: unsafe { result::device::total_mem(device)? } as u64,
        })
    };
    (0..result::device::get_count()?).map(gpu).collect()
}

/// Failures are ignored: they only cost speed.
pub(super) fn prepare(device: &CudaDevice) {
    let stream = device.cuda_stream();
    let context = stream.context();
    if context.bind_to_thread().is_err() {
        return;
    }
    let mut threshold = u64::MAX;
    // SAFETY: an open context's device has a pool, and the attribute is one u64; the handle is
    // candle's own
    unsafe {
        if let Ok(pool) = result::device::get_default_mem_pool(context.cu_device()) {
            let which = Pool::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, which, (&raw mut threshold).cast());
        }
        let mode = cublas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        cublas::cublasSetMathMode(*device.cublas_handle().handle(), mode);
    }
}

/// Memory use of a GPU whose context is open.
pub(super) fn memory(device: &CudaDevice) -> Option<GpuMemory> {
    let stream = device.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().ok()?;
    let (free, total) = result::mem_get_info().ok()?;
    let of_pool = |which| pool(context, which).unwrap_or(0);
    Some(GpuMemory {
        free: free as u64,
        total: total as u64,
        held: of_pool(Pool::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT),
        peak: of_pool(Pool::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH),
    })
}

/// An attribute, in bytes, of the memory pool of candle's tensors.
fn pool(context: &CudaContext, which: Pool) -> Option<u64> {
    let mut bytes = 0u64;
    // SAFETY: an open context's device has a pool, and the attributes asked for are one u64 each
    let status = unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).ok()?;
        sys::cuMemPoolGetAttribute(pool, which, (&raw mut bytes).cast())
    };
    (status == sys::CUresult::CUDA_SUCCESS).then_some(bytes)
}
