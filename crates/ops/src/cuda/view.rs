//! Views of the tensors of a kernel: in GPU memory or, under the emulator, in main memory.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, DType, InplaceOp1, Layout, Result, Shape, Storage, StorageRef, Tensor,
    bail,
};
use half::bf16;
use std::cell::RefCell;

/// The storage behind a view.
#[derive(Clone, Copy)]
pub(crate) enum DeviceStorage<'a> {
    Host(&'a CpuStorage),
    Gpu(&'a CudaStorage),
}

/// Contiguous elements to read.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub storage: DeviceStorage<'a>,
    /// Index of the first element in the storage.
    pub start: usize,
    pub shape: &'a Shape,
}

impl<'a> View<'a> {
    pub fn of(storage: DeviceStorage<'a>, layout: &'a Layout) -> Result<Self> {
        match layout.contiguous_offsets() {
            Some((start, _)) => Ok(Self {
                storage,
                start,
                shape: layout.shape(),
            }),
            None => bail!("ops: a kernel's input is not contiguous"),
        }
    }

    pub fn dtype(&self) -> DType {
        match self.storage {
            DeviceStorage::Host(storage) => storage.dtype(),
            DeviceStorage::Gpu(storage) => storage.dtype(),
        }
    }

    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.shape.dims2()
    }

    /// The view from its element `count` on.
    pub fn skip(&self, count: usize) -> Self {
        Self {
            start: self.start + count,
            ..*self
        }
    }

    /// The elements in another dtype, rounded to nearest.
    pub fn cast(&self, dtype: DType) -> Result<Storage> {
        let layout = Layout::contiguous_with_offset(self.shape, self.start);
        Ok(match self.storage {
            DeviceStorage::Host(storage) => Storage::Cpu(storage.to_dtype(&layout, dtype)?),
            DeviceStorage::Gpu(storage) => Storage::Cuda(storage.to_dtype(&layout, dtype)?),
        })
    }

    /// All of a storage.
    pub fn whole(storage: &'a Storage, shape: &'a Shape) -> Self {
        let device_storage = match storage {
            Storage::Cpu(storage) => DeviceStorage::Host(storage),
            Storage::Cuda(storage) => DeviceStorage::Gpu(storage),
            Storage::Metal(_) => unreachable!("only the CPU and CUDA allocate"),
        };
        let start = 0;
        Self {
            storage: device_storage,
            start,
            shape,
        }
    }

    /// A copy of the elements.
    pub fn copy(&self) -> Result<Storage> {
        let layout = Layout::contiguous_with_offset(self.shape, self.start);
        let mut copy = self.alloc(self.dtype(), self.shape.elem_count())?;
        match (self.storage, &mut copy) {
            (DeviceStorage::Host(from), Storage::Cpu(to)) => {
                from.copy_strided_src(to, 0, &layout)?
            }
            (DeviceStorage::Gpu(from), Storage::Cuda(to)) => {
                from.copy_strided_src(to, 0, &layout)?
            }
            _ => unreachable!("the copy is on the same device"),
        }
        Ok(copy)
    }

    /// Uninitialised storage of `count` elements on the same device.
    pub fn alloc(&self, dtype: DType, count: usize) -> Result<Storage> {
        match self.storage {
            DeviceStorage::Host(_) => host_alloc(dtype, count).map(Storage::Cpu),
            DeviceStorage::Gpu(storage) => gpu_alloc(storage, dtype, count).map(Storage::Cuda),
        }
    }
}

/// Under the emulator: NaN, so that an element which the kernel does not write is noticed.
fn host_alloc(dtype: DType, count: usize) -> Result<CpuStorage> {
    Ok(match dtype {
        DType::F32 => CpuStorage::F32(vec![f32::NAN; count]),
        DType::BF16 => CpuStorage::BF16(vec![bf16::NAN; count]),
        DType::U32 => CpuStorage::U32(vec![u32::MAX; count]),
        dtype => bail!("ops: no kernel writes {dtype:?}"),
    })
}

#[cfg(feature = "cuda")]
fn gpu_alloc(near: &CudaStorage, dtype: DType, count: usize) -> Result<CudaStorage> {
    let device = &near.device;
    // SAFETY: every kernel writes all elements of its results.
    unsafe {
        Ok(match dtype {
            DType::F32 => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(count)?, device.clone()),
            DType::BF16 => {
                CudaStorage::wrap_cuda_slice(device.alloc::<bf16>(count)?, device.clone())
            }
            DType::U32 => CudaStorage::wrap_cuda_slice(device.alloc::<u32>(count)?, device.clone()),
            dtype => bail!("ops: no kernel writes {dtype:?}"),
        })
    }
}

#[cfg(not(feature = "cuda"))]
fn gpu_alloc(_: &CudaStorage, _: DType, _: usize) -> Result<CudaStorage> {
    Err(candle_core::Error::NotCompiledWithCudaSupport)
}

/// Contiguous elements to write, from an index of the storage on.
pub(crate) enum ViewMut<'a> {
    Host(&'a mut CpuStorage, usize),
    Gpu(&'a mut CudaStorage, usize),
}

impl<'a> ViewMut<'a> {
    pub fn dtype(&self) -> DType {
        match self {
            Self::Host(storage, _) => storage.dtype(),
            Self::Gpu(storage, _) => storage.dtype(),
        }
    }

    pub fn of(storage: &'a mut Storage) -> Self {
        match storage {
            Storage::Cpu(storage) => Self::Host(storage, 0),
            Storage::Cuda(storage) => Self::Gpu(storage, 0),
            Storage::Metal(_) => unreachable!("only the CPU and CUDA allocate"),
        }
    }
}

/// Runs `f`, which modifies the elements of a contiguous tensor in place.
pub(crate) fn modify(tensor: &Tensor, f: impl FnOnce(ViewMut) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Modify(RefCell::new(Some(f))))
}

struct Modify<F>(RefCell<Option<F>>);

impl<F: FnOnce(ViewMut) -> Result<()>> Modify<F> {
    fn run<'a>(&self, view: impl FnOnce(usize) -> ViewMut<'a>, layout: &Layout) -> Result<()> {
        match (self.0.take(), layout.contiguous_offsets()) {
            (Some(f), Some((start, _))) => f(view(start)),
            _ => bail!("ops: a kernel modifies a tensor that is not contiguous"),
        }
    }
}

impl<F: FnOnce(ViewMut) -> Result<()>> InplaceOp1 for Modify<F> {
    fn name(&self) -> &'static str {
        "modify"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        self.run(|start| ViewMut::Host(storage, start), layout)
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        self.run(|start| ViewMut::Gpu(storage, start), layout)
    }
}

/// A tensor opened for reading.
pub(crate) struct OpenTensor<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> OpenTensor<'a> {
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub fn view(&self) -> Result<View<'_>> {
        match &*self.storage {
            Storage::Cpu(storage) => View::of(DeviceStorage::Host(storage), self.layout),
            Storage::Cuda(storage) => View::of(DeviceStorage::Gpu(storage), self.layout),
            Storage::Metal(_) => bail!("ops: no kernels for this device"),
        }
    }
}

/// A tensor without a graph.
pub(crate) fn from_storage(storage: Storage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(storage, shape, candle_core::op::BackpropOp::none(), false)
}

/// Addresses in GPU memory. Keep the guard until the work that uses the address is on its stream.
#[cfg(feature = "cuda")]
pub(crate) mod address {
    use candle_core::cuda_backend::CudaStorageSlice as Slice;
    use candle_core::cuda_backend::cudarc::driver::{
        CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop,
    };
    use candle_core::{CudaStorage, Result, bail};

    pub fn read<'a>(
        storage: &'a CudaStorage,
        start: usize,
        stream: &'a CudaStream,
    ) -> Result<(u64, SyncOnDrop<'a>)> {
        let (at, guard, size) = match &storage.slice {
            Slice::F32(data) => with(data.device_ptr(stream), 4),
            Slice::BF16(data) => with(data.device_ptr(stream), 2),
            Slice::U32(data) => with(data.device_ptr(stream), 4),
            Slice::U8(data) => with(data.device_ptr(stream), 1),
            _ => bail!("ops: no kernel reads this dtype"),
        };
        Ok((at + (start * size) as u64, guard))
    }

    pub fn write<'a>(
        storage: &'a mut CudaStorage,
        start: usize,
        stream: &'a CudaStream,
    ) -> Result<(u64, SyncOnDrop<'a>)> {
        let (at, guard, size) = match &mut storage.slice {
            Slice::F32(data) => with(data.device_ptr_mut(stream), 4),
            Slice::BF16(data) => with(data.device_ptr_mut(stream), 2),
            Slice::U32(data) => with(data.device_ptr_mut(stream), 4),
            Slice::U8(data) => with(data.device_ptr_mut(stream), 1),
            _ => bail!("ops: no kernel writes this dtype"),
        };
        Ok((at + (start * size) as u64, guard))
    }

    fn with<'a>((at, guard): (u64, SyncOnDrop<'a>), size: usize) -> (u64, SyncOnDrop<'a>, usize) {
        (at, guard, size)
    }
}
