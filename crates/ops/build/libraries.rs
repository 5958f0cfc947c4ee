//! Generates the list of NVIDIA's functions for `src/driver/libraries.rs`, and empty archives for
//! the linker.
//!
//! cudarc links libcuda, libcublas and others by name; such a binary does not start without them.
//! `ops` defines every function of these libraries that cudarc declares instead, and the linker
//! finds an empty archive of each name. The functions are read from cudarc's source, so no list has
//! to be maintained.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories of cudarc's bindings, in the order of `LIBRARIES` in `src/driver/libraries.rs`.
const BINDINGS: [&str; 5] = ["driver", "cublas", "cublaslt", "curand", "nvrtc"];
/// Candle's launchers of kernels that run only on the architecture they were compiled for; they are
/// not linked.
const LAUNCHERS: usize = BINDINGS.len();
/// The libraries that cudarc and candle-kernels link.
const LINKED: [&str; 6] = ["cuda", "cublas", "cublasLt", "curand", "nvrtc", "cudart"];

/// Writes `functions.rs` and the empty archives into the build directory.
pub fn write() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let folder = out.join("libraries");
    fs::create_dir_all(&folder).expect("a folder for empty archives");
    for name in LINKED {
        fs::write(folder.join(format!("lib{name}.a")), "!<arch>\n").expect("an empty archive");
    }
    println!("cargo::rustc-link-search=native={}", folder.display());

    let packages = metadata();
    let (cudarc, kernels) = (
        source(&packages, "cudarc"),
        source(&packages, "candle-kernels"),
    );
    let mut functions = Vec::new();
    for (library, binding) in BINDINGS.into_iter().enumerate() {
        let file = cudarc.join(binding).join("sys/mod.rs");
        declared(&file, "            fn ", library, &mut functions);
    }
    declared(
        &kernels.join("ffi.rs"),
        "    pub fn ",
        LAUNCHERS,
        &mut functions,
    );
    functions.sort();
    functions.dedup_by(|a, b| a.name == b.name);

    let mut text = format!("static FUNCTIONS: [Function; {}] = [\n", functions.len());
    for f in &functions {
        let Function {
            library,
            name,
            text: is_text,
        } = f;
        text += &format!(
            "    Function {{ library: {library}, name: c\"{name}\", is_text: {is_text} }},\n"
        );
    }
    text += "];\n";
    for (index, f) in functions.iter().enumerate() {
        text += &format!("stand_in!({}, {index});\n", f.name);
    }
    fs::write(out.join("functions.rs"), text).expect("the list of functions");
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    library: usize,
    name: String,
    /// Returns a string, not a status.
    text: bool,
}

/// Collects the functions that `file` declares on lines that begin with `start`.
fn declared(file: &Path, start: &str, library: usize, functions: &mut Vec<Function>) {
    let code = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let before = functions.len();
    for line in code.lines() {
        let Some((name, rest)) = line.strip_prefix(start).and_then(|l| l.split_once('(')) else {
            continue;
        };
        let (name, text) = (name.to_string(), rest.contains("-> *const"));
        functions.push(Function {
            library,
            name,
            text,
        });
    }
    assert!(
        functions.len() > before,
        "{}: no function declaration was recognised",
        file.display()
    );
}

/// The output of `cargo metadata` for this build. Not `--offline`: on a fresh machine the
/// dependencies of the tests, which it lists too, may not have been downloaded yet.
fn metadata() -> String {
    let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--features=cuda",
        ])
        .output()
        .expect("cargo metadata runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata, which finds the sources of cudarc, failed (run `cargo fetch` first if there \
         is no network here): {errors}"
    );
    String::from_utf8(output.stdout).expect("cargo metadata is UTF-8")
}

/// The directory `src` of a package.
fn source(metadata: &str, package: &str) -> PathBuf {
    let entry = format!("{{\"name\":\"{package}\",\"version\":");
    let at = metadata.find(&entry);
    let at = at.unwrap_or_else(|| panic!("cargo metadata names no package {package}"));
    let key = "\"manifest_path\":\"";
    let path = metadata[at..]
        .split_once(key)
        .and_then(|(_, rest)| rest.split_once('"'));
    let (path, _) = path.unwrap_or_else(|| panic!("cargo metadata gives {package} no path"));
    Path::new(path).with_file_name("src")
}
