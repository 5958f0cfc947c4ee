//! Tests that need a model or data the repository does not ship (`make test-external`). Where the
//! input is missing they fail, with the command that fetches it.

mod golden_model;
#[path = "../data/golden_rows.rs"]
mod golden_rows;
mod golden_shapes;
mod inputs;
mod qwen;
mod real_data;
mod smollm2;
mod token_ids;
mod tokenizers;
