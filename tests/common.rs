//! Fixtures and helpers that several test modules use.

use data::{Ask, Message, Prompt};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// A LLaMA of two layers and a few thousand weights; `replaced` overrides keys of its config.json.
pub fn tiny_config(replaced: Value) -> models::Config {
    let mut config = json!({
        "model_type": "llama", "hidden_act": "silu", "vocab_size": 61, "hidden_size": 24,
        "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3,
        "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
        "tie_word_embeddings": true, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2
    });
    for (key, value) in replaced.as_object().expect("a table of keys") {
        config[key] = value.clone();
    }
    models::Config::from_json(&config).unwrap()
}

/// Logits [n, V] of hidden states [n, d] by candle's matmul in f32, whatever the head's dtype.
pub fn plain_logits(model: &models::CausalLm, hidden: &candle_core::Tensor) -> candle_core::Tensor {
    let head = ops::widened(model.head()).unwrap();
    let head = head.to_dtype(candle_core::DType::F32).unwrap();
    hidden.matmul(&head.t().unwrap()).unwrap()
}

/// All seven projections that LoRA can adapt.
pub fn all_targets() -> models::LoraTargets {
    models::LoraTargets::AllLinear
}

pub fn instruction(instruction: &str, input: &str) -> Ask {
    Ask::Instruction {
        instruction: instruction.into(),
        input: input.into(),
    }
}

pub fn chat(turns: &[(&str, &str)]) -> Ask {
    let turns = turns.iter();
    Ask::Chat(turns.map(|(role, text)| Message::new(role, text)).collect())
}

pub fn prompt(ask: Ask) -> Prompt {
    Prompt::new(ask, None)
}

/// Ids of a text with EOS, after no prompt.
pub fn answer(encoder: &data::Encoder, text: &str) -> Vec<u32> {
    let nothing = prompt(Ask::Raw(String::new()));
    encoder.answer(&nothing, text).unwrap()
}

/// Asserts that the result is an error, printed as this one line.
#[track_caller]
pub fn refused<T>(result: anyhow::Result<T>, expected: &str) {
    let error = result.err().expect("an error");
    assert_eq!(run::one_line(&error), expected);
}

/// Reopens a run with settings of this version and begins it, as the stages do.
pub fn resume_run<C>(dir: &Path, stage: &str, config: &C) -> anyhow::Result<run::Run>
where
    C: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut run = run::Run::reopen(dir, stage, config, Ok)?;
    run.begin()?;
    Ok(run)
}

/// Runs the calling test again in a process of its own, with these environment variables: for what
/// ends or signals the process, or is read once in it.
pub fn again_in_a_child<V: AsRef<std::ffi::OsStr>>(
    variables: impl IntoIterator<Item = (&'static str, V)>,
) -> Output {
    again_in_a_child_at(Path::new("."), variables)
}

/// The same in another directory, for what depends on the current directory.
pub fn again_in_a_child_at<V: AsRef<std::ffi::OsStr>>(
    dir: &Path,
    variables: impl IntoIterator<Item = (&'static str, V)>,
) -> Output {
    let thread = std::thread::current();
    let name = thread.name().expect("tests have names");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .envs(variables)
        .current_dir(dir)
        .output()
        .unwrap()
}
