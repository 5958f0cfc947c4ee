//! SmolLM2 against transformers.
