//! Where the numbers of an operation lie: on a card, or, under the emulator, in main memory.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, DType, InplaceOp1, Layout, Result, Shape, Storage, StorageRef, Tensor,
    bail,
};
use half::bf16;
use std::cell::RefCell;

#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Host(&'a CpuStorage),
    Card(&'a CudaStorage),
}

/// Contiguous numbers to read.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub place: Place<'a>,
    /// Of its first number in the storage
    pub start: usize,
    pub shape: &'a Shape,
}

impl<'a> View<'a> {
    pub fn of(place: Place<'a>, layout: &'a Layout) -> Result<Self> {
        match layout.contiguous_offsets() {
            Some((start, _)) => Ok(Self {
                place,
                start,
                shape: layout.shape(),
            }),
            None => bail!("ops: a kernel's input is not contiguous"),
        }
    }

    pub fn dtype(&self) -> DType {
        match self.place {
            Place::Host(storage) => storage.dtype(),
            Place::Card(storage) => storage.dtype(),
        }
    }

    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.shape.dims2()
    }

    /// The view from its `count`-th number on.
    pub fn skip(&self, count: usize) -> Self {
        Self {
            start: self.start + count,
            ..*self
        }
    }

    /// Its numbers in another dtype, to nearest.
    pub fn cast(&self, dtype: DType) -> Result<Storage> {
        let layout = Layout::contiguous_with_offset(self.shape, self.start);
        Ok(match self.place {
            Place::Host(storage) => Storage::Cpu(storage.to_dtype(&layout, dtype)?),
            Place::Card(storage) => Storage::Cuda(storage.to_dtype(&layout, dtype)?),
        })
    }

    /// All that a storage holds.
    pub fn whole(storage: &'a Storage, shape: &'a Shape) -> Self {
        let place = match storage {
            Storage::Cpu(storage) => Place::Host(storage),
            Storage::Cuda(storage) => Place::Card(storage),
            Storage::Metal(_) => unreachable!("room is made in main memory or on a card"),
        };
        let start = 0;
        Self {
            place,
            start,
            shape,
        }
    }

    /// A copy of its numbers.
    pub fn copy(&self) -> Result<Storage> {
        let layout = Layout::contiguous_with_offset(self.shape, self.start);
        let mut copy = self.room(self.dtype(), self.shape.elem_count())?;
        match (self.place, &mut copy) {
            (Place::Host(from), Storage::Cpu(to)) => from.copy_strided_src(to, 0, &layout)?,
            (Place::Card(from), Storage::Cuda(to)) => from.copy_strided_src(to, 0, &layout)?,
            _ => unreachable!("room is where the numbers are"),
        }
        Ok(copy)
    }

    /// Room for `count` numbers beside this, which nobody has set.
    pub fn room(&self, dtype: DType, count: usize) -> Result<Storage> {
        match self.place {
            Place::Host(_) => host_room(dtype, count).map(Storage::Cpu),
            Place::Card(storage) => card_room(storage, dtype, count).map(Storage::Cuda),
        }
    }
}

/// Under the emulator: NaN, so that what a kernel does not write is seen.
fn host_room(dtype: DType, count: usize) -> Result<CpuStorage> {
    Ok(match dtype {
        DType::F32 => CpuStorage::F32(vec![f32::NAN; count]),
        DType::BF16 => CpuStorage::BF16(vec![bf16::NAN; count]),
        DType::U32 => CpuStorage::U32(vec![u32::MAX; count]),
        dtype => bail!("ops: no kernel writes {dtype:?}"),
    })
}

#[cfg(feature = "cuda")]
fn card_room(beside: &CudaStorage, dtype: DType, count: usize) -> Result<CudaStorage> {
    let device = &beside.device;
    // SAFETY: every kernel writes each number of its results.
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
fn card_room(_: &CudaStorage, _: DType, _: usize) -> Result<CudaStorage> {
    Err(candle_core::Error::NotCompiledWithCudaSupport)
}

/// Numbers to write.
pub(crate) enum Target<'a> {
    Host(&'a mut CpuStorage, usize),
    Card(&'a mut CudaStorage, usize),
}

impl<'a> Target<'a> {
    pub fn dtype(&self) -> DType {
        match self {
            Self::Host(storage, _) => storage.dtype(),
            Self::Card(storage, _) => storage.dtype(),
        }
    }

    pub fn of(storage: &'a mut Storage) -> Self {
        match storage {
            Storage::Cpu(storage) => Self::Host(storage, 0),
            Storage::Cuda(storage) => Self::Card(storage, 0),
            Storage::Metal(_) => unreachable!("room is made in main memory or on a card"),
        }
    }
}

/// Runs `f` over the numbers of a contiguous tensor, to change them in place.
pub(crate) fn change(tensor: &Tensor, f: impl FnOnce(Target) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Change(RefCell::new(Some(f))))
}

struct Change<F>(RefCell<Option<F>>);

impl<F: FnOnce(Target) -> Result<()>> Change<F> {
    fn run<'a>(&self, target: impl FnOnce(usize) -> Target<'a>, layout: &Layout) -> Result<()> {
        match (self.0.take(), layout.contiguous_offsets()) {
            (Some(f), Some((start, _))) => f(target(start)),
            _ => bail!("ops: what a kernel changes is not contiguous"),
        }
    }
}

impl<F: FnOnce(Target) -> Result<()>> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        self.run(|start| Target::Host(storage, start), layout)
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        self.run(|start| Target::Card(storage, start), layout)
    }
}

/// A tensor opened for reading.
pub(crate) struct Open<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Open<'a> {
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub fn view(&self) -> Result<View<'_>> {
        match &*self.storage {
            Storage::Cpu(storage) => View::of(Place::Host(storage), self.layout),
            Storage::Cuda(storage) => View::of(Place::Card(storage), self.layout),
            Storage::Metal(_) => bail!("ops: no kernels for this device"),
        }
    }
}

/// A result without a graph.
pub(crate) fn tensor(storage: Storage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(storage, shape, candle_core::op::BackpropOp::none(), false)
}

/// Addresses on a card. The guard is to be kept until the work that uses the address is on its stream.
#[cfg(feature = "cuda")]
pub(crate) mod cuda {
    use candle_core::cuda_backend::CudaStorageSlice as Slice;
    use candle_core::cuda_backend::cudarc::driver::{
        CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop,
    };
    use candle_core::{CudaStorage, Result, bail};

    pub fn address<'a>(
        storage: &'a CudaStorage,
        start: usize,
        stream: &'a CudaStream,
    ) -> Result<(u64, SyncOnDrop<'a>)> {
        let (at, guard, size) = match &storage.slice {
            Slice::F32(data) => with(data.device_ptr(stream), 4),
            Slice::BF16(data) => with(data.device_ptr(stream), 2),
            Slice::U32(data) => with(data.device_ptr(stream), 4),
            Slice::U8(data) => with(data.device_ptr(stream), 1),
            _ => bail!("ops: no kernel reads such numbers"),
        };
        Ok((at + (start * size) as u64, guard))
    }

    pub fn address_mut<'a>(
        storage: &'a mut CudaStorage,
        start: usize,
        stream: &'a CudaStream,
    ) -> Result<(u64, SyncOnDrop<'a>)> {
        let (at, guard, size) = match &mut storage.slice {
            Slice::F32(data) => with(data.device_ptr_mut(stream), 4),
            Slice::BF16(data) => with(data.device_ptr_mut(stream), 2),
            Slice::U32(data) => with(data.device_ptr_mut(stream), 4),
            Slice::U8(data) => with(data.device_ptr_mut(stream), 1),
            _ => bail!("ops: no kernel writes such numbers"),
        };
        Ok((at + (start * size) as u64, guard))
    }

    fn with<'a>((at, guard): (u64, SyncOnDrop<'a>), size: usize) -> (u64, SyncOnDrop<'a>, usize) {
        (at, guard, size)
    }
}
