//! With `--features cuda`: compiles the kernels and defines NVIDIA's functions. Otherwise does
//! nothing.

#[path = "build/kernels.rs"]
mod kernels;
#[path = "build/libraries.rs"]
mod libraries;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        kernels::compile();
        libraries::write();
    }
}
