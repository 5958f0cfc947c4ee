//! Compiles `kernels/` to PTX, which the driver compiles for the GPU at run time.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// The oldest architecture that the kernels run on: the first whose tensor cores support bf16.
const ARCHITECTURE: &str = "compute_80";

/// Writes `kernels.ptx` into the build directory.
pub fn compile() {
    println!("cargo::rerun-if-changed=kernels");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let nvcc = nvcc();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.ptx");
    let run = Command::new(&nvcc)
        .args(["-ptx", "-std=c++17", "-O3", "-Werror", "all-warnings"])
        .arg(format!("--gpu-architecture={ARCHITECTURE}"))
        .arg("-o")
        .arg(&out)
        .arg("kernels/kernels.cu")
        .status();
    match run {
        Ok(status) if status.success() && fs::exists(&out).unwrap_or(false) => {}
        Ok(status) => panic!("{} ended with {status}", nvcc.display()),
        Err(error) => panic!(
            "{} cannot be run ({error}); `make cuda` fetches NVIDIA's compiler",
            nvcc.display()
        ),
    }
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os);
    homes
        .map(|home| PathBuf::from(home).join("bin/nvcc"))
        .find(|nvcc| nvcc.exists())
        .unwrap_or_else(|| "nvcc".into())
}
