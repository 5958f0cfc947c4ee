//! What transformers says of a model, beside what we compute from the same files.

use candle_core::{Device, Tensor};
use data::{Ask, Encoder, Ends, Message, Prompt, Template};
use models::{KvCache, Loaded, SpecialTokens};
use ops::Ragged;
use serde_json::Value;
use testkit::{assert_close_slices, values};
use tokenizers::Tokenizer;

pub fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn logits(loaded: &Loaded, hidden: &Tensor) -> Tensor {
    ops::frozen_linear(hidden, loaded.model.head()).unwrap()
}

/// With the model's own template. `date`: what it prints, if it prints one.
pub fn encoder(
    tokenizer: &Tokenizer,
    special: &SpecialTokens,
    source: String,
    date: Option<&str>,
) -> Encoder {
    let (eos, eos_text) = special.eos[0].clone();
    let bos = special.bos.clone();
    let template = Template::Chat {
        source,
        bos: bos.clone().map(|(_, text)| text).unwrap_or_default(),
        eos: eos_text,
        date: None,
    };
    let template = match date {
        Some(date) => template.at(date),
        None => template,
    };
    let ends = Ends {
        bos: bos.map(|(id, _)| id),
        add_bos: special.add_bos,
        eos,
        stop: Vec::new(),
    };
    Encoder::new(tokenizer.clone(), template, ends).unwrap()
}

/// The prompt of messages: its text and ids.
#[track_caller]
pub fn check_prompt(encoder: &Encoder, messages: &Value, text: &str, ids: &[u32]) {
    let messages: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
    let ask = Ask::Chat(messages);
    assert_eq!(encoder.template().render(&ask).unwrap(), text);
    let prompt = encoder.prompt(&Prompt::new(ask, None)).unwrap();
    assert_eq!(prompt, ids, "{text:?}");
}

/// The largest logits at some positions of a text, and the log of the sum of their exponentials.
#[track_caller]
pub fn check_logits(loaded: &Loaded, case: &Value, tolerance: f64) {
    let input = ids(&case["ids"]);
    let layout = Ragged::from_lens(&[input.len()]);
    let hidden = loaded.model.hidden(&input, &layout, None, None).unwrap();
    let found = logits(loaded, &hidden);
    for row in case["rows"].as_array().unwrap() {
        let at = row["at"].as_u64().unwrap() as usize;
        let all = values(&found.get(at).unwrap());
        let top = ids(&row["ids"]).into_iter().map(|id| all[id as usize]);
        let wanted = row["values"].as_array().unwrap().iter();
        let wanted: Vec<f64> = wanted.map(|v| v.as_f64().unwrap()).collect();
        let name = format!("logits at {at}");
        assert_close_slices(&name, &top.collect::<Vec<_>>(), &wanted, tolerance);
        let lse = all.iter().map(|v| v.exp()).sum::<f64>().ln();
        let wanted = row["lse"].as_f64().unwrap();
        assert_close_slices(&format!("lse at {at}"), &[lse], &[wanted], tolerance);
    }
}

/// The `next` ids after the `ids` of each case under greedy decoding: all in one ragged batch,
/// decoded together through the cache.
#[track_caller]
pub fn check_greedy(loaded: &Loaded, cases: &[Value]) {
    let prompts: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["ids"])).collect();
    let wanted: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["next"])).collect();
    let model = &loaded.model;
    let mut cache = KvCache::new(model).unwrap();
    let seqs: Vec<_> = prompts.iter().map(|_| cache.open(None).unwrap()).collect();
    let mut layout = Ragged::from_lens(&prompts.iter().map(Vec::len).collect::<Vec<_>>());
    let mut input = prompts.concat();
    let mut answers = vec![Vec::new(); prompts.len()];
    for _ in 0..wanted.iter().map(Vec::len).max().unwrap() {
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
        assert_eq!(&found[..wanted.len()], wanted, "{case}");
    }
}
