//! Compiles the CUDA kernels for this machine's CPU, on the emulator that runs them in the tests.

fn main() {
    println!("cargo:rerun-if-changed=emulator");
    println!("cargo:rerun-if-changed=../crates/ops/kernels");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .include("emulator")
        .include("../crates/ops/kernels")
        .flag("-Wno-unknown-pragmas")
        .file("emulator/emulator.cpp")
        .compile("wick-emulator");
}
