//! NVIDIA's libraries, opened when one of their functions is first called.
//!
//! candle links libcuda, libcublas, libcublasLt, libcurand and libnvrtc, and such a binary does not
//! start on a machine that lacks one of them. Therefore each of their functions that cudarc
//! declares is defined here (`build/libraries.rs` generates the list): the first call looks it up
//! with `dlopen` and `dlsym`, later calls jump through a table. If the function is missing, the
//! call returns an error code.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One of NVIDIA's libraries, in the order of `BINDINGS` in `build/libraries.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Driver,
    Cublas,
    CublasLt,
    Curand,
    Nvrtc,
}

const LIBRARIES: [Library; 5] = [
    Library::Driver,
    Library::Cublas,
    Library::CublasLt,
    Library::Curand,
    Library::Nvrtc,
];

impl Library {
    /// File names, the preferred first. The functions of cublas and cublasLt that are called have
    /// the same signatures in 12 and 13; libcurand is 10 in both. Version 13 is not tried on a
    /// driver before 13, on which it does not run.
    fn files(self) -> &'static [&'static CStr] {
        let both: &[&CStr] = match self {
            Self::Driver => return &[c"libcuda.so.1"],
            Self::Curand => return &[c"libcurand.so.10"],
            Self::Cublas => &[c"libcublas.so.13", c"libcublas.so.12"],
            Self::CublasLt => &[c"libcublasLt.so.13", c"libcublasLt.so.12"],
            Self::Nvrtc => &[c"libnvrtc.so.13", c"libnvrtc.so.12"],
        };
        let old = super::version::version().is_none_or(|version| version < 13_000);
        &both[usize::from(old)..]
    }

    /// CUDA_ERROR_NO_DEVICE, CUBLAS_STATUS_NOT_INITIALIZED, CURAND_STATUS_NOT_INITIALIZED,
    /// NVRTC_ERROR_INTERNAL_ERROR
    fn absent(self) -> *const c_void {
        match self {
            Self::Driver => answer::<100> as *const c_void,
            Self::Cublas | Self::CublasLt => answer::<1> as *const c_void,
            Self::Curand => answer::<101> as *const c_void,
            Self::Nvrtc => answer::<11> as *const c_void,
        }
    }

    /// The library's handle, opened at the first call.
    fn open(self) -> Option<*mut c_void> {
        static HANDLES: [OnceLock<usize>; 5] = [const { OnceLock::new() }; 5];
        let handle = *HANDLES[self as usize].get_or_init(|| {
            // cublas needs the cublasLt of its own version: load it first
            if self == Self::Cublas {
                Self::CublasLt.open();
            }
            self.search() as usize
        });
        (handle != 0).then_some(handle as *mut c_void)
    }

    /// Searches where the system looks, then in `folders`.
    fn search(self) -> *mut c_void {
        for file in self.files() {
            // SAFETY: the name ends in a zero byte. NVIDIA's libraries may be opened at any time.
            let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
            if !handle.is_null() {
                return handle;
            }
            // the driver belongs to the machine: one from another folder would not match its kernel
            // module
            for folder in folders().iter().filter(|_| self != Self::Driver) {
                let path = folder.join(file.to_str().unwrap_or_default());
                let Ok(path) = CString::new(path.into_os_string().into_encoded_bytes()) else {
                    continue;
                };
                // SAFETY: as above
                let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
                if !handle.is_null() {
                    return handle;
                }
            }
        }
        null_mut()
    }

    /// The name of the file, if it was not found.
    pub fn missing(self) -> Option<String> {
        let first = self.files()[0].to_string_lossy().into_owned();
        self.open().is_none().then_some(first)
    }
}

/// Folders of `WICK_CUDA_LIBS`, separated by colons, and of a toolkit.
fn folders() -> Vec<PathBuf> {
    let own = env::var_os("WICK_CUDA_LIBS").unwrap_or_default();
    let own = env::split_paths(&own).filter(|folder| folder.is_absolute());
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].map(env::var_os);
    let toolkits = toolkits.into_iter().flatten().map(PathBuf::from);
    let toolkits = toolkits.chain([Path::new("/usr/local/cuda").into()]);
    own.chain(toolkits.flat_map(|home| [home.join("lib64"), home.join("lib")]))
        .collect()
}

struct Function {
    /// Index into `LIBRARIES`; one past its end: candle's launchers.
    library: usize,
    name: &'static CStr,
    /// Returns a string, not a status.
    is_text: bool,
}

/// The addresses that the stand-ins jump to; null before the first call.
static TABLE: [AtomicPtr<c_void>; FUNCTIONS.len()] =
    [const { AtomicPtr::new(null_mut()) }; FUNCTIONS.len()];

/// Looks up function `index` and stores its address in the table.
extern "C" fn find(index: u32) -> *const c_void {
    let index = index as usize;
    let function = &FUNCTIONS[index];
    let found = match LIBRARIES.get(function.library) {
        None => not_linked as *const c_void,
        Some(library) => {
            // SAFETY: the library is open and the name ends in a zero byte
            let there = library.open().map_or(null_mut(), |handle| unsafe {
                libc::dlsym(handle, function.name.as_ptr())
            });
            match there.is_null() {
                false => there,
                true if function.is_text => absent_text as *const c_void,
                true => library.absent(),
            }
        }
    };
    TABLE[index].store(found.cast_mut(), Ordering::Release);
    found
}

/// Stands in for a missing function; ignores the arguments.
extern "C" fn answer<const STATUS: c_int>() -> c_int {
    STATUS
}

extern "C" fn absent_text() -> *const c_char {
    c"the library is missing".as_ptr()
}

/// Stands in for candle's kernels for quantised weights, which are compiled for one architecture
/// only; `ops` has its own.
extern "C" fn not_linked() {
    // Standard error may be closed; eprintln! would panic then.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        b"error: candle's kernels for quantised weights are not in this binary\n",
    );
    std::process::abort()
}

/// A function of NVIDIA's: jumps to its address in the table, or to `first` if there is none yet.
#[cfg(target_arch = "x86_64")]
macro_rules! stand_in {
    ($name:ident, $index:literal) => {
        /// # Safety
        /// As NVIDIA's function of this name.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "mov r11, qword ptr [rip + {table} + {offset}]",
                "test r11, r11",
                "jz 2f",
                "jmp r11",
                "2:",
                "mov r11d, {index}",
                "jmp {first}",
                table = sym TABLE,
                offset = const 8 * $index,
                index = const $index,
                first = sym first,
            )
        }
    };
}

/// Calls `find` with the index in r11d, restores every register that may hold an argument, and
/// jumps to the result.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn first() {
    core::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rax",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 136",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        "mov edi, r11d",
        "call {find}",
        "mov r11, rax",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 136",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rax",
        "pop rbp",
        "jmp r11",
        find = sym find,
    )
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the stand-ins for NVIDIA's functions are written for x86-64");

include!(concat!(env!("OUT_DIR"), "/functions.rs"));
