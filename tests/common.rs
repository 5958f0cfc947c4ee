//! Fixtures that several areas use.

use data::{Ask, Message, Prompt};
use serde_json::{Value, json};

/// The config of a LLaMA of two layers and a few thousand weights, with some keys of its config.json replaced.
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

/// Logits [n, V] of hidden states [n, d] by candle's own product in f32, whatever the head is kept in.
pub fn plain_logits(model: &models::CausalLm, hidden: &candle_core::Tensor) -> candle_core::Tensor {
    let head = ops::widened(model.head()).unwrap();
    let head = head.to_dtype(candle_core::DType::F32).unwrap();
    hidden.matmul(&head.t().unwrap()).unwrap()
}

/// Every projection that LoRA can be put on.
pub fn all_targets() -> Vec<String> {
    let names = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj";
    names.split(' ').map(String::from).collect()
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
    Prompt {
        ask,
        reference: None,
    }
}

/// The result is an error that is printed as this one line.
#[track_caller]
pub fn refused<T>(result: anyhow::Result<T>, expected: &str) {
    let error = result.err().expect("this should be refused");
    assert_eq!(run::one_line(&error), expected);
}

/// Runs the test that calls this once more, in a process of its own that has these variables: for what would end or signal the
/// process, or is read once in it.
pub fn again_in_a_child<V: AsRef<std::ffi::OsStr>>(
    variables: impl IntoIterator<Item = (&'static str, V)>,
) -> std::process::Output {
    let thread = std::thread::current();
    let name = thread.name().expect("tests have names");
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .envs(variables)
        .output()
        .unwrap()
}
