//! Where the inputs are: an environment variable, or a path in the repository.

use models::{HfDirectory, read_hf_directory};
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

/// Qwen2.5-Coder-0.5B-Instruct as GGUF.
pub fn qwen() -> PathBuf {
    let default = ".models/qwen2.5-coder-0.5b-instruct.gguf";
    input("WICK_QWEN", default, "run `make fetch-qwen`")
}

/// The directory of a real tokenizer, in the directory of all.
pub fn tokenizer(name: &str) -> PathBuf {
    let remedy = "run `make fetch-tokenizers`";
    let path = input("WICK_TOKENIZERS", ".models/tokenizers", remedy).join(name);
    assert!(path.exists(), "{} is missing: {remedy}", path.display());
    path
}

/// What is read of a real tokenizer where a config.json is beside it, as in a model's directory.
pub fn hf_directory(name: &str) -> HfDirectory {
    let (files, dir) = (tokenizer(name), tempfile::tempdir().unwrap());
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(files.join(name), dir.path().join(name)).unwrap();
    }
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 400_000, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1,
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    read_hf_directory(dir.path()).unwrap()
}

/// A file of the directory of public data sets.
pub fn real_data(name: &str) -> PathBuf {
    let path = input("WICK_REAL_DATA", "data/real", "run `make fetch-data`").join(name);
    let shown = path.display();
    assert!(path.exists(), "{shown} is missing: run `make fetch-data`");
    path
}
