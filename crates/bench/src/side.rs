//! The sides of a comparison.

/// Who is measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Ours,
    /// TRL or transformers
    Peer,
    /// llama.cpp with f32 weights
    LlamaCpp,
    /// llama.cpp with bf16 weights, as ours keeps them
    LlamaCppBf16,
}

impl Side {
    /// The name in the JSON file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::LlamaCpp => "llama_cpp",
            Self::LlamaCppBf16 => "llama_cpp_bf16",
        }
    }

    /// The file with llama.cpp's weights in the directory of the peers.
    pub fn gguf(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::Peer => None,
            Self::LlamaCpp => Some("model-f32.gguf"),
            Self::LlamaCppBf16 => Some("model-bf16.gguf"),
        }
    }
}
