//! Launches a kernel by its name: on a GPU through the driver, in main memory through the
//! [`Emulator`] of the tests.

use crate::cuda::view::{DeviceStorage, View, ViewMut};
use candle_core::{CpuStorage, Result, bail};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};

/// Runs a kernel in main memory. Arguments: its name, the grid (x, y, z), threads of a thread
/// block, bytes of shared memory, the address of each kernel argument, and whether thread blocks
/// and threads run in reverse order. Returns 0; 1 if there is no such kernel, 2 if it has fewer
/// threads.
pub type Emulator = unsafe extern "C" fn(
    *const c_char,
    *const c_uint,
    c_uint,
    c_uint,
    *mut *mut c_void,
    c_int,
) -> c_int;

thread_local! {
    static EMULATOR: Cell<Option<(Emulator, bool)>> = const { Cell::new(None) };
}

/// Runs `f` with an emulator: the operations that it calls on this thread run the CUDA kernels in
/// main memory. `backwards`: thread blocks and threads run in reverse order. For tests.
pub fn emulated<R>(emulator: Emulator, backwards: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<(Emulator, bool)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            EMULATOR.set(self.0);
        }
    }
    let _restore = Restore(EMULATOR.replace(Some((emulator, backwards))));
    f()
}

/// Whether an emulator is in place on this thread.
pub(crate) fn emulating() -> bool {
    EMULATOR.get().is_some()
}

enum Arg<'a> {
    Read(View<'a>),
    Write(ViewMut<'a>),
    /// A number passed by value, its bytes in little-endian order.
    Value(u64),
}

/// A kernel with its arguments, in the kernel's order. Launching an empty grid does nothing.
pub(crate) struct Kernel<'a> {
    name: String,
    grid: [u32; 3],
    threads: u32,
    shared: usize,
    args: Vec<Arg<'a>>,
}

impl<'a> Kernel<'a> {
    /// A grid of thread blocks in x and y, of `threads` threads each.
    pub fn new(name: impl Into<String>, grid: (usize, usize), threads: usize) -> Self {
        Self {
            name: name.into(),
            grid: [grid.0 as u32, grid.1 as u32, 1],
            threads: threads as u32,
            shared: 0,
            args: Vec::new(),
        }
    }

    /// A kernel in which each thread handles four of `n` elements.
    pub fn element_wise(name: impl Into<String>, n: usize) -> Self {
        const THREADS: usize = 256;
        Self::new(name, (n.div_ceil(4 * THREADS), 1), THREADS)
    }

    /// Bytes of dynamic shared memory.
    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared = bytes;
        self
    }

    pub fn read(mut self, view: View<'a>) -> Self {
        self.args.push(Arg::Read(view));
        self
    }

    pub fn write(mut self, target: ViewMut<'a>) -> Self {
        self.args.push(Arg::Write(target));
        self
    }

    pub fn u32(mut self, x: usize) -> Self {
        self.args.push(Arg::Value(x as u32 as u64));
        self
    }

    pub fn u64(mut self, x: usize) -> Self {
        self.args.push(Arg::Value(x as u64));
        self
    }

    pub fn f32(mut self, x: f32) -> Self {
        self.args.push(Arg::Value(x.to_bits() as u64));
        self
    }

    pub fn launch(self) -> Result<()> {
        if self.grid.contains(&0) {
            return Ok(());
        }
        let host = self.args.iter().any(|arg| {
            matches!(
                arg,
                Arg::Read(View {
                    storage: DeviceStorage::Host(_),
                    ..
                }) | Arg::Write(ViewMut::Host(..))
            )
        });
        match host {
            true => self.launch_emulated(),
            false => self.launch_on_gpu(),
        }
    }

    fn launch_emulated(self) -> Result<()> {
        let Some((emulator, backwards)) = EMULATOR.get() else {
            bail!("ops: kernel {} has no GPU to run on", self.name)
        };
        let mut values = Vec::with_capacity(self.args.len());
        for arg in self.args {
            values.push(match arg {
                Arg::Read(View {
                    storage: DeviceStorage::Host(storage),
                    start,
                    ..
                }) => address(storage)? + (start * size(storage)) as u64,
                Arg::Write(ViewMut::Host(storage, start)) => {
                    address_mut(storage)? + (start * size(storage)) as u64
                }
                Arg::Value(value) => value,
                _ => bail!(
                    "ops: the arguments of kernel {} are on two devices",
                    self.name
                ),
            });
        }
        let mut args: Vec<*mut c_void> = values
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast())
            .collect();
        let name = CString::new(self.name.as_str()).expect("the name of a kernel has no zero byte");
        // SAFETY: the arguments are those of the kernel, as the tests of each kernel check; they
        // outlive the call.
        let outcome = unsafe {
            emulator(
                name.as_ptr(),
                self.grid.as_ptr(),
                self.threads,
                self.shared as u32,
                args.as_mut_ptr(),
                backwards.into(),
            )
        };
        match outcome {
            0 => Ok(()),
            1 => bail!("ops: there is no kernel {}", self.name),
            _ => bail!(
                "ops: kernel {} was compiled for fewer threads than {}",
                self.name,
                self.threads
            ),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn launch_on_gpu(self) -> Result<()> {
        Err(candle_core::Error::NotCompiledWithCudaSupport)
    }

    #[cfg(feature = "cuda")]
    fn launch_on_gpu(self) -> Result<()> {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg, sys};
        let device = self.args.iter().find_map(|arg| match arg {
            Arg::Read(View {
                storage: DeviceStorage::Gpu(storage),
                ..
            }) => Some(storage.device.clone()),
            Arg::Write(ViewMut::Gpu(storage, _)) => Some(storage.device.clone()),
            _ => None,
        });
        let Some(device) = device else {
            bail!(
                "ops: kernel {} has no tensor among its arguments",
                self.name
            )
        };
        let function = device.get_or_load_custom_func(&self.name, "wick", KERNELS)?;
        // a thread block may use this much without opting in
        if self.shared > 48 * 1024 {
            let attribute =
                sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, self.shared as i32).w()?;
        }
        let stream = device.cuda_stream();
        let (mut values, mut guards) = (Vec::with_capacity(self.args.len()), Vec::new());
        for arg in self.args {
            values.push(match arg {
                Arg::Read(View {
                    storage: DeviceStorage::Gpu(storage),
                    start,
                    ..
                }) => {
                    let (at, guard) = super::view::address::read(storage, start, &stream)?;
                    guards.push(guard);
                    at
                }
                Arg::Write(ViewMut::Gpu(storage, start)) => {
                    let (at, guard) = super::view::address::write(storage, start, &stream)?;
                    guards.push(guard);
                    at
                }
                Arg::Value(value) => value,
                _ => bail!(
                    "ops: the arguments of kernel {} are on two devices",
                    self.name
                ),
            });
        }
        let mut builder = function.builder();
        for value in &values {
            builder.arg(value);
        }
        let [x, y, z] = self.grid;
        let config = LaunchConfig {
            grid_dim: (x, y, z),
            block_dim: (self.threads, 1, 1),
            shared_mem_bytes: self.shared as u32,
        };
        // SAFETY: the arguments are those of the kernel, as the tests of each kernel check; the
        // guards keep the tensors.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// PTX of every kernel, compiled by build.rs.
#[cfg(feature = "cuda")]
pub(crate) const KERNELS: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

fn size(storage: &CpuStorage) -> usize {
    use candle_core::backend::BackendStorage;
    storage.dtype().size_in_bytes()
}

fn address(storage: &CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(data) => data.as_ptr().addr(),
        CpuStorage::BF16(data) => data.as_ptr().addr(),
        CpuStorage::U32(data) => data.as_ptr().addr(),
        CpuStorage::U8(data) => data.as_ptr().addr(),
        _ => bail!("ops: no kernel reads this dtype"),
    } as u64)
}

fn address_mut(storage: &mut CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(data) => data.as_mut_ptr().addr(),
        CpuStorage::BF16(data) => data.as_mut_ptr().addr(),
        CpuStorage::U32(data) => data.as_mut_ptr().addr(),
        CpuStorage::U8(data) => data.as_mut_ptr().addr(),
        _ => bail!("ops: no kernel writes this dtype"),
    } as u64)
}
