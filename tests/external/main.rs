//! Tests that need a model or data the repository does not ship (`make test-external`). Where the
//! input is missing they fail, with the command that fetches it.

mod inputs;
mod real_data;
mod smollm2;
mod tokenizers;
