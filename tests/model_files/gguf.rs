//! GGUF files against transformers, and with something wrong.

use super::{CPU, assert_same_weights, load, says};
use crate::common::plain_logits;
use candle_core::quantized::gguf_file::{Content, Value};
use models::{HfCopy, Loaded, ModelSource, RopeScaling, WrittenDtype};
use ops::Ragged;
use std::fs;
use std::path::Path;
use testkit::{assert_close, golden, golden_json, golden_tensors, values};

fn gguf(path: &Path) -> models::Result<Loaded> {
    models::load(&ModelSource::Gguf(path.to_path_buf()), CPU)
}

#[test]
fn gguf_files_equal_transformers() {
    let logits = golden_tensors("tiny-gguf/golden.safetensors");
    let strings = golden_json("tiny-gguf/golden.json");
    for name in ["spm", "bpe"] {
        let loaded = gguf(&golden(&format!("tiny-gguf/{name}.gguf"))).unwrap();
        for case in strings[name].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let found = loaded.tokenizer.encode(text, false).unwrap();
            let ids = case["ids"].as_array().unwrap().iter();
            let wanted: Vec<u32> = ids.map(|v| v.as_u64().unwrap() as u32).collect();
            assert_eq!(found.get_ids(), wanted, "{name} {text:?}");
            if name == "bpe" || !text.contains("<|") {
                let back = loaded.tokenizer.decode(&wanted, false).unwrap();
                assert_eq!(back, text, "{name}");
            }
        }
        let ids: Vec<u32> = values(&logits["ids"])
            .into_iter()
            .map(|v| v as u32)
            .collect();
        let layout = Ragged::from_lens(&[ids.len()]);
        let hidden = loaded.model.hidden(&ids, &layout, None, None).unwrap();
        let last = hidden.narrow(0, ids.len() - 8, 8).unwrap();
        let found = plain_logits(&loaded.model, &last);
        assert_close(name, &found, &logits[name], 1e-4);
        assert_eq!(loaded.chat_template.as_deref(), Some("{{ messages }}"));
        assert!(loaded.special.add_bos);
        let one = loaded
            .tokenizer
            .encode("the", true)
            .unwrap()
            .get_ids()
            .to_vec();
        assert_eq!(one[0], loaded.special.bos.as_ref().unwrap().0);
        let eos: Vec<&str> = loaded.special.eos.iter().map(|(_, t)| t.as_str()).collect();
        let wanted: &[&str] = if name == "spm" {
            &["</s>"]
        } else {
            &["</s>", "<|end|>"]
        };
        assert_eq!(eos, wanted);
        let config = &loaded.model.config;
        assert_eq!(
            (config.rms_norm_eps, config.tie_word_embeddings),
            (1e-5, name == "spm")
        );
        let llama3 =
            matches!(config.rope_scaling, RopeScaling::Llama3 { factor, .. } if factor == 8.0);
        assert_eq!(llama3, name == "bpe");

        // and out again as a Hugging Face directory
        let dir = tempfile::tempdir().unwrap();
        let (model, special) = (&loaded.model, &loaded.special);
        model
            .save_hf(dir.path(), &loaded.tokenizer, special, None)
            .unwrap();
        let again = load(dir.path()).unwrap();
        assert_eq!(again.model.config, loaded.model.config);
        assert_eq!(&again.special, special);
        assert_same_weights(&again.model, &loaded.model);
    }
}

/// A golden file with other or more metadata.
pub fn with_keys(name: &str, keys: &[(String, Value)], to: &Path) {
    let mut from = fs::File::open(golden(&format!("tiny-gguf/{name}.gguf"))).unwrap();
    let content = Content::read(&mut from).unwrap();
    let names = content.tensor_infos.keys();
    let tensors = names.map(|name| (name.as_str(), content.tensor(&mut from, name, CPU).unwrap()));
    let tensors: Vec<_> = tensors.collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (*name, t)).collect();
    let mut metadata = content.metadata;
    metadata.extend(keys.iter().cloned());
    let metadata: Vec<_> = metadata.iter().map(|(key, v)| (key.as_str(), v)).collect();
    let mut file = fs::File::create(to).unwrap();
    candle_core::quantized::gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

fn with_id(name: &str, key: &str, id: u32, to: &Path) {
    with_keys(name, &[(key.to_string(), Value::U32(id))], to);
}

#[test]
fn a_copy_of_a_gguf_model_keeps_its_special_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    let pad = "tokenizer.ggml.padding_token_id";
    with_id("bpe", pad, 3, &file);
    let loaded = gguf(&file).unwrap();
    let (special, out) = (&loaded.special, dir.path());
    let copied = |loaded: &Loaded| {
        let (tokenizer, defaults) = (&loaded.tokenizer, &loaded.defaults);
        let copy = HfCopy {
            tokenizer,
            special,
            chat_template: None,
            defaults,
            adapter: None,
            dtype: WrittenDtype::F32,
        };
        loaded.model.save_copy(out, &copy).unwrap();
        [
            "tokenizer_config.json",
            "generation_config.json",
            "config.json",
        ]
        .map(|name| {
            let json: serde_json::Value =
                serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap();
            json
        })
    };
    let [settings, generation, config] = copied(&loaded);
    let text = loaded.tokenizer.id_to_token(3).unwrap();
    assert_eq!(settings["pad_token"], text);
    assert_eq!(settings["eos_token"], "</s>");
    assert_eq!(settings["add_bos_token"], true);
    let ids: Vec<u32> = special.eos.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 2, "EOS and the end of a turn");
    assert_eq!(generation["eos_token_id"], serde_json::json!(ids));
    assert_eq!(
        (&generation["pad_token_id"], &config["pad_token_id"]),
        (&3.into(), &3.into())
    );

    // as some converters write for "none"
    with_id("bpe", pad, u32::MAX, &file);
    let source = ModelSource::Gguf(file.clone());
    let meta = models::model_meta(&source, models::Fetch::Whole).unwrap();
    assert_eq!(meta.notes.len(), 1);
    assert!(meta.notes[0].contains(pad) && meta.notes[0].ends_with("it is not used"));
    let [settings, _, config] = copied(&gguf(&file).unwrap());
    assert_eq!(
        (settings.get("pad_token"), config.get("pad_token_id")),
        (None, None)
    );
}

#[test]
fn bad_gguf_files_are_refused() {
    let bytes = fs::read(golden("tiny-gguf/spm.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    let spoil = |bytes: &[u8], parts: &[&str]| {
        fs::write(&file, bytes).unwrap();
        says(gguf(&file), parts);
    };
    let n = bytes.len();
    spoil(&[], &["m.gguf", "corrupt or truncated"]);
    spoil(b"<html>404</html>", &["m.gguf", "corrupt or truncated"]);
    spoil(&bytes[..100], &["m.gguf", "corrupt or truncated"]);
    spoil(&bytes[..n / 2], &["m.gguf", "tensor", "cannot be read"]);
    // lengths that no file has: the number of tensors, of entries, the length of the first key
    for at in [8, 16, 24] {
        let mut huge = bytes.clone();
        huge[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        spoil(&huge, &["m.gguf", "corrupt or truncated"]);
    }
    let find = |needle: &[u8]| {
        bytes
            .windows(needle.len())
            .position(|w| w == needle)
            .unwrap()
    };
    let swap = |old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let at = find(old.as_bytes());
        let mut copy = bytes.clone();
        copy[at..at + new.len()].copy_from_slice(new.as_bytes());
        copy
    };
    spoil(
        &swap("blk.1.attn_q.weight", "blk.1.attn_x.weight"),
        &["blk.1.attn_q.weight is missing"],
    );
    spoil(
        &swap("llama.block_count", "llama.clock_bount"),
        &["llama.block_count is missing"],
    );
    spoil(
        &swap("tokenizer.ggml.scores", "tokenizer.ggml.Scores"),
        &["scores is missing"],
    );
    spoil(
        &swap("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"),
        &["a key of its metadata is there twice"],
    );
    spoil(
        &swap("blk.1.attn_q.weight", "blk.0.attn_q.weight"),
        &["a tensor is there twice"],
    );
    // one layer fewer declared than there is
    let mut copy = bytes.clone();
    copy[find(b"llama.block_count") + 17 + 4] = 1;
    spoil(&copy, &["unexpected tensor blk.1."]);
    let mut copy = bytes.clone();
    copy[find(b"llama.feed_forward_length") + 25 + 4] = 32;
    spoil(&copy, &["blk.0.ffn_gate.weight is [64, 32]", "[32, 32]"]);
    let mut copy = bytes.clone();
    copy[find(b"tokenizer.ggml.eos_token_id") + 27 + 4..][..4].copy_from_slice(&[255; 4]);
    spoil(
        &copy,
        &["tokenizer.ggml.eos_token_id is outside the vocabulary"],
    );
    spoil(&bytes[..n - 1], &["cannot be read"]);
    // never a panic, whatever byte of the header is spoiled
    for at in (0..4000).step_by(7) {
        let mut copy = bytes.clone();
        copy[at] ^= 0xff;
        fs::write(&file, &copy).unwrap();
        if let Err(error) = gguf(&file) {
            assert!(!error.to_string().contains('\n'), "byte {at}: {error}");
        }
    }
}
