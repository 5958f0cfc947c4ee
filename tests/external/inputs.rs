//! Where the inputs are: an environment variable, or a path in the repository.

use std::path::{Path, PathBuf};

/// The path that `variable` names, or `default` in the repository. Fails with `remedy` where
/// nothing is there.
fn input(variable: &str, default: &str, remedy: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = std::env::var_os(variable).map_or_else(|| root.join(default), PathBuf::from);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is missing: {remedy}, or set {variable}"
    );
    path
}

/// SmolLM2-135M-Instruct as GGUF.
pub fn smollm2() -> PathBuf {
    let default = ".models/smollm2-135m-instruct.gguf";
    input("WICK_SMOLLM2", default, "run `make fetch-smollm2`")
}

/// The directory of a real tokenizer.
pub fn tokenizer(name: &str) -> PathBuf {
    let default = format!(".models/tokenizers/{name}");
    input("WICK_TOKENIZERS", &default, "run `make fetch-tokenizers`")
}

/// A file of the directory of public data sets.
pub fn real_data(name: &str) -> PathBuf {
    let path = input("WICK_REAL_DATA", "data/real", "run `make fetch-data`").join(name);
    let shown = path.display();
    assert!(path.exists(), "{shown} is missing: run `make fetch-data`");
    path
}
