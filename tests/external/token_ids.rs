//! 500 difficult texts by real tokenizers: ids and decoded texts are those of Hugging Face's
//! libraries (scripts/golden/tokens.py, which also says what each was compared with).

use super::inputs;
use models::{Fetch, ModelSource, model_meta};
use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::golden_json;
use tokenizers::Tokenizer;

/// The first 8 hexadecimal digits of a SHA-256.
fn hashed(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest[..4].iter().map(|b| format!("{b:02x}")).collect()
}

/// The texts whose ids or decoded text differ from the reference's.
fn differing(golden: &Value, texts: &[String], tokenizer: &Tokenizer) -> Vec<String> {
    let wanted = |key: &str, at: usize| &golden[key].as_str().unwrap()[8 * at..8 * at + 8];
    let mut found = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let encode = |special| tokenizer.encode(text.as_str(), special).unwrap();
        let (plain, whole) = (encode(false), encode(true));
        let ids = plain.get_ids().iter().chain(whole.get_ids());
        let bytes: Vec<u8> = ids.flat_map(|id| id.to_le_bytes()).collect();
        let decoded = tokenizer.decode(plain.get_ids(), false).unwrap();
        for (what, same) in [
            ("ids", hashed(&bytes) == wanted("ids", at)),
            (
                "decoded",
                hashed(decoded.as_bytes()) == wanted("decoded", at),
            ),
        ] {
            if !same {
                let pieces = plain.get_tokens();
                found.push(format!("{what} of text {at}, {text:?}: {pieces:?}"));
            }
        }
    }
    found
}

#[test]
fn of_difficult_texts_are_those_of_hugging_face() {
    let golden = golden_json("token-ids.json");
    let texts: Vec<String> = serde_json::from_value(golden_json("token-texts.json")).unwrap();
    assert_eq!(texts.len(), 500);
    let tokenizers = golden["tokenizers"].as_object().unwrap();
    assert_eq!(tokenizers.len(), 12);
    let mut report = String::new();
    for (name, golden) in tokenizers {
        let tokenizer = match name.as_str() {
            "smollm2-135m-instruct.gguf" => of_gguf(inputs::smollm2()),
            "qwen2.5-coder-0.5b-instruct.gguf" => of_gguf(inputs::qwen()),
            name => inputs::hf_directory(name).tokenizer,
        };
        let found = differing(golden, &texts, &tokenizer);
        if !found.is_empty() {
            let n = found.len();
            let shown = found[..n.min(20)].join("\n  ");
            report += &format!("{name}: {n} differ\n  {shown}\n");
        }
    }
    assert!(
        report.is_empty(),
        "{report}`python scripts/golden/tokens.py .models NAME TEXT` prints what was expected"
    );
}

fn of_gguf(file: std::path::PathBuf) -> Tokenizer {
    model_meta(&ModelSource::Gguf(file), Fetch::Whole)
        .unwrap()
        .tokenizer
}
