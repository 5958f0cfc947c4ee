//! SmolLM2-135M-Instruct from its GGUF file against transformers: tokens, logits, greedy answers.

use candle_core::{Device, Tensor};
use models::{KvCache, Loaded, ModelSource};
use ops::Ragged;
use serde_json::Value;
use testkit::{assert_close_slices, golden_json, values};

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|v| v.as_u64().unwrap() as u32).collect()
}

fn logits(loaded: &Loaded, hidden: &Tensor) -> Tensor {
    ops::frozen_linear(hidden, loaded.model.head()).unwrap()
}

#[test]
fn tokens_logits_and_answers_match_transformers() {
    let golden = golden_json("smollm2.json");
    let loaded = models::load(&ModelSource::Gguf(super::inputs::smollm2()), &Device::Cpu).unwrap();
    let special = &loaded.special;
    assert_eq!(special.bos, Some((1, "<|im_start|>".to_string())));
    assert_eq!(special.eos, [(2, "<|im_end|>".to_string())]);
    assert!(!special.add_bos);
    assert!(loaded.model.config.tie_word_embeddings);
    assert_eq!(loaded.model.config.rope_theta, 100_000.0);
    assert_eq!(loaded.model.config.rms_norm_eps, 1e-5);
    let template = loaded.chat_template.as_ref().unwrap();
    assert!(template.contains("<|im_start|>"));

    for case in golden["tokens"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let found = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(found.get_ids(), ids(&case["ids"]), "{text:?}");
        let back = loaded.tokenizer.decode(found.get_ids(), false).unwrap();
        assert_eq!(back, text);
    }

    let case = &golden["logits"];
    let input = ids(&case["ids"]);
    let layout = Ragged::from_lens(&[input.len()]);
    let hidden = loaded.model.hidden(&input, &layout, None, None).unwrap();
    let found = logits(&loaded, &hidden);
    for row in case["rows"].as_array().unwrap() {
        let at = row["at"].as_u64().unwrap() as usize;
        let row_logits = values(&found.get(at).unwrap());
        let top = ids(&row["ids"])
            .into_iter()
            .map(|id| row_logits[id as usize]);
        let wanted: Vec<f64> = row["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_close_slices(
            &format!("logits at {at}"),
            &top.collect::<Vec<_>>(),
            &wanted,
            1e-4,
        );
        let lse = row_logits.iter().map(|v| v.exp()).sum::<f64>().ln();
        let wanted = row["lse"].as_f64().unwrap();
        assert_close_slices(&format!("lse at {at}"), &[lse], &[wanted], 1e-4);
    }

    greedy_answers(&loaded, golden["chat"].as_array().unwrap());
}

/// All prompts in one ragged batch, decoded together through the cache.
fn greedy_answers(loaded: &Loaded, cases: &[Value]) {
    let prompts: Vec<Vec<u32>> = cases.iter().map(|c| ids(&c["ids"])).collect();
    for (case, prompt) in cases.iter().zip(&prompts) {
        let text = case["text"].as_str().unwrap();
        let found = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(found.get_ids(), prompt, "{text:?}");
    }
    let wanted: Vec<Vec<u32>> = cases.iter().map(|c| ids(&c["next"])).collect();
    let mut cache = KvCache::new(&loaded.model).unwrap();
    let seqs: Vec<_> = prompts.iter().map(|_| cache.open(None).unwrap()).collect();
    let lens: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let mut layout = Ragged::from_lens(&lens);
    let mut input = prompts.concat();
    let mut answers = vec![Vec::new(); prompts.len()];
    for _ in 0..24 {
        let model = &loaded.model;
        let hidden = model
            .forward_cached(&input, &layout, &seqs, &mut cache, None)
            .unwrap();
        let last: Vec<u32> = layout.ranges().map(|r| r.end as u32 - 1).collect();
        let last = Tensor::new(last, &Device::Cpu).unwrap();
        let logits = logits(loaded, &hidden.index_select(&last, 0).unwrap());
        input = logits.argmax(1).unwrap().to_vec1().unwrap();
        for (answer, id) in answers.iter_mut().zip(&input) {
            answer.push(*id);
        }
        layout = Ragged::from_lens(&vec![1; seqs.len()]);
    }
    for ((case, found), wanted) in cases.iter().zip(&answers).zip(&wanted) {
        assert_eq!(&found[..wanted.len()], wanted, "{}", case["prompt"]);
    }
}
