//! Runs a kernel by its name: on a card through the driver, in main memory through the [`Emulator`] of the tests.

use crate::cuda::place::{Place, Target, View};
use candle_core::{CpuStorage, Result, bail};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};

/// Runs the kernel of this name in main memory: `grid` of three, threads of a block, bytes of shared memory, where each argument lies, and
/// whether blocks and threads take their turns from the last to the first. 0 unless there is no such kernel or it has fewer threads.
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

/// What `f` gives where the operations that it calls on this thread run a card's kernels in main memory, for tests; `backwards` as
/// [`Emulator`] has it.
pub fn emulated<R>(emulator: Emulator, backwards: bool, f: impl FnOnce() -> R) -> R {
    struct Back(Option<(Emulator, bool)>);
    impl Drop for Back {
        fn drop(&mut self) {
            EMULATOR.set(self.0);
        }
    }
    let _back = Back(EMULATOR.replace(Some((emulator, backwards))));
    f()
}

pub(crate) fn emulating() -> bool {
    EMULATOR.get().is_some()
}

enum Arg<'a> {
    Read(View<'a>),
    Write(Target<'a>),
    /// A number that is passed by value: its bytes, the first of them in front
    Value(u64),
}

/// A kernel about to run, its arguments in the kernel's order. One block at least; a grid without blocks runs nothing.
pub(crate) struct Launch<'a> {
    name: String,
    grid: [u32; 3],
    threads: u32,
    shared: usize,
    args: Vec<Arg<'a>>,
}

impl<'a> Launch<'a> {
    /// `grid` blocks in x and y of `threads` threads.
    pub fn new(name: impl Into<String>, grid: (usize, usize), threads: usize) -> Self {
        Self {
            name: name.into(),
            grid: [grid.0 as u32, grid.1 as u32, 1],
            threads: threads as u32,
            shared: 0,
            args: Vec::new(),
        }
    }

    /// Bytes of shared memory whose size the kernel does not say itself.
    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared = bytes;
        self
    }

    pub fn read(mut self, view: View<'a>) -> Self {
        self.args.push(Arg::Read(view));
        self
    }

    pub fn write(mut self, target: Target<'a>) -> Self {
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

    pub fn run(self) -> Result<()> {
        if self.grid.contains(&0) {
            return Ok(());
        }
        let host = self.args.iter().any(|arg| {
            matches!(
                arg,
                Arg::Read(View {
                    place: Place::Host(_),
                    ..
                }) | Arg::Write(Target::Host(..))
            )
        });
        match host {
            true => self.emulate(),
            false => self.drive(),
        }
    }

    fn emulate(self) -> Result<()> {
        let Some((emulator, backwards)) = EMULATOR.get() else {
            bail!("ops: kernel {} has no card to run on", self.name)
        };
        let mut values = Vec::with_capacity(self.args.len());
        for arg in self.args {
            values.push(match arg {
                Arg::Read(View {
                    place: Place::Host(storage),
                    start,
                    ..
                }) => address(storage)? + (start * size(storage)) as u64,
                Arg::Write(Target::Host(storage, start)) => {
                    address_mut(storage)? + (start * size(storage)) as u64
                }
                Arg::Value(value) => value,
                _ => bail!("ops: kernel {} reads from two devices", self.name),
            });
        }
        let mut args: Vec<*mut c_void> = values
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast())
            .collect();
        let name = CString::new(self.name.as_str()).expect("a kernel's name");
        // SAFETY: the arguments are those of the kernel, which the tests of each hold it to; they outlive the call.
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
                "ops: kernel {} has fewer threads than {}",
                self.name,
                self.threads
            ),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn drive(self) -> Result<()> {
        Err(candle_core::Error::NotCompiledWithCudaSupport)
    }

    #[cfg(feature = "cuda")]
    fn drive(self) -> Result<()> {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg, sys};
        let device = self.args.iter().find_map(|arg| match arg {
            Arg::Read(View {
                place: Place::Card(storage),
                ..
            }) => Some(storage.device.clone()),
            Arg::Write(Target::Card(storage, _)) => Some(storage.device.clone()),
            _ => None,
        });
        let Some(device) = device else {
            bail!("ops: kernel {} reads nothing", self.name)
        };
        let function = device.get_or_load_custom_func(&self.name, "wick", KERNELS)?;
        // what a block gets without being asked for more
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
                    place: Place::Card(storage),
                    start,
                    ..
                }) => {
                    let (at, guard) = super::place::cuda::address(storage, start, &stream)?;
                    guards.push(guard);
                    at
                }
                Arg::Write(Target::Card(storage, start)) => {
                    let (at, guard) = super::place::cuda::address_mut(storage, start, &stream)?;
                    guards.push(guard);
                    at
                }
                Arg::Value(value) => value,
                _ => bail!("ops: kernel {} reads from two devices", self.name),
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
        // SAFETY: the arguments are those of the kernel, which the tests of each hold it to; the guards keep what they point to.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// PTX of every kernel, made by build.rs.
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
        _ => bail!("ops: no kernel reads such numbers"),
    } as u64)
}

fn address_mut(storage: &mut CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(data) => data.as_mut_ptr().addr(),
        CpuStorage::BF16(data) => data.as_mut_ptr().addr(),
        CpuStorage::U32(data) => data.as_mut_ptr().addr(),
        CpuStorage::U8(data) => data.as_mut_ptr().addr(),
        _ => bail!("ops: no kernel writes such numbers"),
    } as u64)
}
