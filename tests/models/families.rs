//! Every family against transformers and PEFT: windows, biases, norms of heads, layers without
//! rotation, fused matrices, partial rotation and each RoPE scaling. Cases:
//! `scripts/golden/families.py`.

use candle_core::{Device, Tensor};
use models::{CausalLm, Config, FAMILIES, KvCache, Lora, ModelSource};
use ops::Ragged;
use std::collections::{BTreeSet, HashMap};
use testkit::{assert_close, golden, golden_tensors, values};

const CPU: &Device = &Device::Cpu;

const CASES: [&str; 13] = [
    "llama-yarn",
    "llama-yarn-plain",
    "llama-dynamic",
    "mistral",
    "qwen2-window",
    "qwen3",
    "qwen3-plain",
    "qwen3-window",
    "smollm3",
    "smollm3-window",
    "phi3",
    "phi3-512",
    "phi3-long",
];

pub(super) struct Case {
    pub name: &'static str,
    pub model: CausalLm,
    pub wanted: HashMap<String, Tensor>,
    pub ids: Vec<u32>,
    pub layout: Ragged,
}

impl Case {
    pub fn all() -> impl Iterator<Item = Self> {
        CASES.into_iter().map(|name| {
            let dir = golden("families").join(name);
            let model = models::load(&ModelSource::Dir(dir), CPU).unwrap().model;
            let wanted = golden_tensors(&format!("families/{name}/golden.safetensors"));
            let whole = |key: &str| values(&wanted[key]).into_iter();
            let lens: Vec<usize> = whole("lens").map(|v| v as usize).collect();
            Self {
                name,
                model,
                ids: whole("ids").map(|v| v as u32).collect(),
                layout: Ragged::from_lens(&lens),
                wanted,
            }
        })
    }

    fn adapter(&self) -> Lora {
        let dir = golden("families").join(self.name).join("adapter");
        Lora::load(&dir, &self.model).unwrap()
    }

    fn hidden(&self, lora: Option<&Lora>) -> Tensor {
        let hidden = self.model.hidden(&self.ids, &self.layout, lora, None);
        hidden.unwrap()
    }

    fn logits(&self, model: &CausalLm, lora: Option<&Lora>) -> Tensor {
        let hidden = model.hidden(&self.ids, &self.layout, lora, None).unwrap();
        crate::common::plain_logits(model, &hidden).detach()
    }

    /// Mean NLL of every token but the first of each sequence.
    fn nll(&self, lora: Option<&Lora>) -> Tensor {
        let labels = self.layout.ranges().flat_map(|r| r.start + 1..r.end);
        let labels = labels.map(|at| (at as u32 - 1, self.ids[at]));
        let (rows, targets): (Vec<u32>, Vec<u32>) = labels.unzip();
        let rows = Tensor::new(rows, CPU).unwrap();
        let before = self.hidden(lora).index_select(&rows, 0).unwrap();
        let logits = before.matmul(&self.model.head().t().unwrap()).unwrap();
        candle_nn::loss::cross_entropy(&logits, &Tensor::new(targets, CPU).unwrap()).unwrap()
    }
}

#[test]
fn every_family_has_a_case() {
    let cases = Case::all().map(|case| case.model.config.family.model_type);
    let families = FAMILIES.iter().map(|family| family.model_type);
    assert_eq!(
        cases.collect::<BTreeSet<_>>(),
        families.collect::<BTreeSet<_>>()
    );
}

#[test]
fn logits_equal_transformers_and_peft() {
    for case in Case::all() {
        let (name, wanted) = (case.name, &case.wanted);
        let found = case.logits(&case.model, None);
        assert_close(name, &found, &wanted["logits"], 2e-4);
        let lora = case.adapter();
        let found = case.logits(&case.model, Some(&lora));
        assert_close(name, &found, &wanted["adapter"], 2e-4);
        let merged = case.model.merged(&lora).unwrap();
        let found = case.logits(&merged, None);
        assert_close(name, &found, &wanted["adapter"], 2e-4);
    }
}

#[test]
fn every_gradient_equals_torch() {
    for mut case in Case::all() {
        let check = |case: &Case, what: &str, lora: Option<&Lora>, vars: Vec<_>| {
            let loss = case.nll(lora);
            let expected = case.wanted[&format!("{what}_loss")].get(0).unwrap();
            assert_close(case.name, &loss, &expected, 1e-5);
            let grads = loss.backward().unwrap();
            let n = case
                .wanted
                .keys()
                .filter(|k| k.contains(&format!("{what}_grad")))
                .count();
            assert_eq!(vars.len(), n, "{} {what}", case.name);
            for (key, var) in vars {
                let var: candle_core::Var = var;
                let name = format!("{} {key}", case.name);
                let found = grads.get(var.as_tensor()).expect(&name);
                let wanted = &case.wanted[&format!("{what}_grad.{key}")];
                assert_close(&name, found, wanted, 2e-4);
            }
        };
        let lora = case.adapter().trainable().unwrap();
        check(&case, "adapter", Some(&lora), lora.vars());
        let vars = case.model.make_trainable().unwrap();
        check(&case, "full", None, vars);
    }
}

/// Checkpointed layers compute the same bits, with an adapter and with a trained base.
#[test]
fn checkpointed_layers_change_no_bit() {
    for mut case in Case::all() {
        let lora = case.adapter().trainable().unwrap();
        let mut vars = lora.vars();
        vars.extend(case.model.make_trainable().unwrap());
        let mut bits = |layers| {
            case.model.checkpoint_layers(layers);
            let grads = case.nll(Some(&lora)).backward().unwrap();
            let of = |(_, var): &(String, candle_core::Var)| {
                values(grads.get(var.as_tensor()).expect("a gradient"))
            };
            vars.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(bits(0), bits(2), "{}", case.name);
    }
}

fn best(model: &CausalLm, hidden: &Tensor) -> u32 {
    let logits = crate::common::plain_logits(model, hidden);
    let last = logits.dim(0).unwrap() - 1;
    let best = logits.get(last).unwrap().argmax(0).unwrap();
    best.to_scalar().unwrap()
}

#[test]
fn greedy_text_equals_transformers() {
    for case in Case::all() {
        let wanted: Vec<u32> = values(&case.wanted["greedy"])
            .into_iter()
            .map(|v| v as u32)
            .collect();
        let mut cache = KvCache::new(&case.model).unwrap();
        let seq = cache.open(None).unwrap();
        let mut next = case.ids[case.layout.range(0)].to_vec();
        let mut found = Vec::new();
        for _ in 0..wanted.len() {
            let layout = Ragged::from_lens(&[next.len()]);
            let model = &case.model;
            let hidden = model.forward_cached(&next, &layout, &[seq], &mut cache, None);
            next = vec![best(model, &hidden.unwrap())];
            found.extend(next.iter().copied());
        }
        assert_eq!(found, wanted, "{}", case.name);
    }
}

/// A GGUF file of the same weights: q and k rows back in order, fused matrices, factors of RoPE,
/// and one model in three files.
#[test]
fn a_gguf_file_is_the_same_model() {
    let mut read = 0;
    for case in Case::all() {
        let dir = golden("families").join(case.name);
        let files = ["model.gguf", "model-00001-of-00003.gguf"].map(|name| dir.join(name));
        let Some(file) = files.into_iter().find(|file| file.is_file()) else {
            continue;
        };
        let model = models::load(&ModelSource::Gguf(file), CPU).unwrap().model;
        for ((name, a), (other, b)) in model.tensors().iter().zip(case.model.tensors()) {
            assert_eq!(*name, other);
            assert_eq!(values(a), values(&b), "{} {name}", case.name);
        }
        // Mistral is stored as llama; its window tells them apart
        let (found, wanted) = (&model.config, &case.model.config);
        assert_eq!(found.family, wanted.family, "{}", case.name);
        assert_eq!(found.layers, wanted.layers, "{}", case.name);
        let found = case.logits(&model, None);
        assert_close(case.name, &found, &case.wanted["logits"], 2e-4);
        read += 1;
    }
    assert_eq!(read, 8);
}

#[test]
fn a_missing_or_wrong_part_of_a_gguf_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let name = |n: usize| format!("model-0000{n}-of-00003.gguf");
    let put = |from: usize, to: usize| {
        let from = golden("families/qwen3").join(name(from));
        std::fs::copy(from, dir.path().join(name(to))).unwrap();
    };
    let error = |n: usize| {
        let source = ModelSource::Gguf(dir.path().join(name(n)));
        models::load(&source, CPU).err().unwrap().to_string()
    };
    put(1, 1);
    put(2, 2);
    let text = error(1);
    assert!(
        text.contains(&name(3)) && text.contains("part 3 of 3 is missing"),
        "{text}"
    );
    let text = error(2);
    assert!(
        text.contains("is part 2 of 3") && text.contains(&name(1)),
        "{text}"
    );
    put(2, 3);
    let text = error(1);
    assert!(text.contains("is not part 3 of 3"), "{text}");
    let alone = dir.path().join("alone.gguf");
    std::fs::copy(dir.path().join(name(1)), &alone).unwrap();
    let text = models::load(&ModelSource::Gguf(alone), CPU).err().unwrap();
    assert!(text.to_string().contains("-00001-of-00003.gguf"), "{text}");
}

/// A copy in Hugging Face's files is the same model, and has the settings of transformers' file.
#[test]
fn a_saved_copy_is_the_same_model() {
    for case in Case::all() {
        let dir = golden("families").join(case.name);
        let loaded = models::load(&ModelSource::Dir(dir.clone()), CPU).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let model = &loaded.model;
        model
            .save_hf(copy.path(), &loaded.tokenizer, &loaded.special, None)
            .unwrap();
        let again = models::load(&ModelSource::Dir(copy.path().into()), CPU).unwrap();
        assert_eq!(again.model.config, model.config, "{}", case.name);
        // transformers' config classes have ids of their own, which another vocabulary lacks
        let text = std::fs::read_to_string(copy.path().join("config.json")).unwrap();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        if ["phi3", "smollm3"].contains(&model.config.family.model_type) {
            assert!(written.as_object().unwrap().contains_key("pad_token_id"));
        }
        assert_eq!(
            again.model.fingerprint().unwrap(),
            model.fingerprint().unwrap(),
            "{}",
            case.name
        );
    }
}

/// Decoding with the cache, one token at a time behind a shared prompt, and several at a time,
/// gives the hidden states of the whole forward, adapter included.
#[test]
fn cached_steps_equal_the_whole_forward() {
    for case in Case::all() {
        let (model, lora) = (&case.model, case.adapter());
        let range = case.layout.range(2);
        let ids = &case.ids[range];
        let whole = model.hidden(ids, &Ragged::from_lens(&[ids.len()]), Some(&lora), None);
        let whole = whole.unwrap();
        for (prompt, step) in [(4, 1), (5, 3), (1, 1), (13, 1)] {
            let mut cache = KvCache::new(model).unwrap();
            let first = cache.open(None).unwrap();
            let layout = Ragged::from_lens(&[prompt]);
            let begun = &ids[..prompt];
            model
                .forward_cached(begun, &layout, &[first], &mut cache, Some(&lora))
                .unwrap();
            let other = cache.open(Some(first)).unwrap();
            let seqs = [cache.open(Some(first)).unwrap(), other];
            let mut call = |ids: &[u32], layout: &Ragged| {
                let hidden = model.forward_cached(ids, layout, &seqs, &mut cache, Some(&lora));
                hidden.unwrap()
            };
            for at in (prompt..ids.len()).step_by(step) {
                let new = &ids[at..(at + step).min(ids.len())];
                let both = [new, new].concat();
                let found = call(&both, &Ragged::from_lens(&[new.len(); 2]));
                for start in [0, new.len()] {
                    let found = found.narrow(0, start, new.len()).unwrap();
                    let wanted = whole.narrow(0, at, new.len()).unwrap();
                    assert_close(case.name, &found, &wanted, 2e-4);
                }
            }
        }
    }
}

/// Samples that share their prompt are computed as if each stood alone.
#[test]
fn shared_prompts_change_nothing() {
    for case in Case::all() {
        let model = &case.model;
        let (prompt, a, b) = (&case.ids[..9], &case.ids[11..16], &case.ids[16..18]);
        let tree = Ragged::continued(&[9, 5, 2], vec![None, Some(0), Some(0)]);
        let ids = [prompt, a, b].concat();
        let found = model.hidden(&ids, &tree, None, None).unwrap();
        for (own, at) in [(a, 9), (b, 14)] {
            let ids = [prompt, own].concat();
            let alone = Ragged::from_lens(&[ids.len()]);
            let alone = model.hidden(&ids, &alone, None, None).unwrap();
            let wanted = alone.narrow(0, 9, own.len()).unwrap();
            let found = found.narrow(0, at, own.len()).unwrap();
            assert_close(case.name, &found, &wanted, 1e-5);
        }
    }
}

#[test]
fn a_written_config_reads_as_the_same() {
    for case in Case::all() {
        let config = &case.model.config;
        let read = Config::from_json(&config.to_json()).unwrap();
        assert_eq!(&read, config, "{}", case.name);
    }
}
