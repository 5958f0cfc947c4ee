//! The language's tokenizer and the base model's config.json; `sft` trains the weights.
//!
//! The tokenizer is lossless byte-level BPE with one token for nearly every word and one per digit.
//! Each fixed sentence of Alpaca's template is one added token, so a prompt has about twenty
//! tokens.

use crate::datasets::{INPUT, INPUT_HEAD, PLAIN_HEAD, RESPONSE, pretraining};
use anyhow::{Context, Result, anyhow};
use serde_json::json;
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::{
    PreTokenizerWrapper, byte_level::ByteLevel, digits::Digits, sequence::Sequence as PreSequence,
};
use tokenizers::{AddedToken, TokenizerBuilder};

/// Tokens, the added ones included.
pub const VOCABULARY: usize = 1024;
/// Begins a sequence; token 1.
pub const BOS: &str = "<s>";
/// Ends an answer; token 2.
pub const EOS: &str = "</s>";
/// Padding, which Wick does not use; token 0.
pub const PAD: &str = "<pad>";

/// Trains the tokenizer on pre-training rows of `seed`.
pub fn train(seed: u64) -> Result<tokenizers::Tokenizer> {
    let failed = |e: tokenizers::Error| anyhow!("training the tokenizer: {e}");
    let template = [PLAIN_HEAD, INPUT_HEAD, INPUT, RESPONSE];
    let special: Vec<AddedToken> = [PAD, BOS, EOS]
        .map(|text| AddedToken::from(text, true))
        .into();
    let added: Vec<AddedToken> = template
        .map(|text| AddedToken::from(text, false).normalized(false))
        .into();
    let byte_level = ByteLevel::new(false, true, true);
    let mut trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY - added.len())
        .special_tokens(special.clone())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    let mut tokenizer =
        TokenizerBuilder::<BPE, tokenizers::NormalizerWrapper, _, ByteLevel, ByteLevel>::default()
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(PreSequence::new(vec![
                PreTokenizerWrapper::Digits(Digits::new(true)),
                PreTokenizerWrapper::ByteLevel(byte_level),
            ])))
            .with_decoder(Some(byte_level))
            .build()
            .map_err(failed)?;
    // Texts are split at the template's parts. They keep their beginnings, since "Which" and "
    // Which" are different tokens.
    let rows: Vec<_> = pretraining(seed).take(20_000).collect();
    let fields = rows.iter().filter_map(|row| row.as_object());
    let mut texts: Vec<&str> = fields
        .flat_map(|f| f.values().filter_map(|text| text.as_str()))
        .collect();
    for part in template {
        texts = texts
            .into_iter()
            .flat_map(|text| text.split(part))
            .filter(|text| !text.is_empty())
            .collect();
    }
    tokenizer
        .train(&mut trainer, texts.into_iter())
        .map_err(failed)?;
    tokenizer.add_tokens(added).map_err(failed)?;
    let json = tokenizer.to_string(false).map_err(failed)?;
    json.parse().map_err(failed)
}

/// Writes config.json (the base model's shape), tokenizer.json, tokenizer_config.json and
/// generation_config.json.
pub fn write(out: &Path, seed: u64) -> Result<()> {
    let tokenizer = train(seed)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let id = |text: &str| tokenizer.token_to_id(text);
    let shape = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.get_vocab_size(true),
        "hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 64, "hidden_act": "silu", "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "attention_bias": false, "mlp_bias": false,
        "tie_word_embeddings": true, "initializer_range": 0.02, "torch_dtype": "bfloat16",
        "bos_token_id": id(BOS), "eos_token_id": id(EOS), "pad_token_id": id(PAD),
    });
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
        "add_bos_token": true, "clean_up_tokenization_spaces": false, "model_max_length": 256,
    });
    let generation =
        json!({"bos_token_id": id(BOS), "eos_token_id": id(EOS), "pad_token_id": id(PAD)});
    let tokenizer = tokenizer.to_string(true).map_err(|e| anyhow!("{e}"))?;
    for (name, text) in [
        ("config.json", serde_json::to_string_pretty(&shape)?),
        ("tokenizer.json", tokenizer),
        (
            "tokenizer_config.json",
            serde_json::to_string_pretty(&config)?,
        ),
        (
            "generation_config.json",
            serde_json::to_string_pretty(&generation)?,
        ),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
