//! The model against transformers, PEFT and candle-transformers: logits, adapters, gradients, KV cache.

use candle_core::{DType, Device, Tensor};
use models::{
    CausalLm, Config, KvCache, Loaded, Lora, LoraConfig, RopeScaling, ScalarHead, SeqId, Source,
};
use ops::Ragged;
use std::collections::HashMap;
use testkit::{assert_close, golden, golden_tensors, values, varied};

const CPU: &Device = &Device::Cpu;

fn tiny(name: &str) -> Loaded {
    models::load(&Source::Dir(golden("tiny-llama").join(name)), CPU).unwrap()
}

fn adapter(name: &str, model: &CausalLm) -> Lora {
    Lora::load(&golden("tiny-llama").join(name), model).unwrap()
}

fn whole(t: &Tensor) -> Vec<usize> {
    values(t).into_iter().map(|v| v as usize).collect()
}

/// The ids and layout that a golden file holds.
fn batch(tensors: &HashMap<String, Tensor>) -> (Vec<u32>, Ragged) {
    let ids = whole(&tensors["ids"]).into_iter().map(|v| v as u32);
    (ids.collect(), Ragged::from_lens(&whole(&tensors["lens"])))
}

fn logits(model: &CausalLm, ids: &[u32], layout: &Ragged, lora: Option<&Lora>) -> Tensor {
    let hidden = model.hidden(ids, layout, lora, None).unwrap();
    crate::common::plain_logits(model, &hidden)
}

#[test]
fn logits_equal_transformers() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    for name in ["tied", "untied", "llama3"] {
        let found = logits(&tiny(name).model, &ids, &layout, None);
        assert_close(name, &found, &wanted[name], 1e-4);
    }
    // linear scaling: the weights of tied/ under another config
    let tied = tiny("tied").model;
    let mut linear = CausalLm::init(
        &Config {
            rope_scaling: RopeScaling::Linear { factor: 2.5 },
            ..tied.config.clone()
        },
        0,
        CPU,
    )
    .unwrap();
    for ((_, var), (_, weight)) in linear.make_trainable().unwrap().iter().zip(tied.tensors()) {
        var.set(&weight).unwrap();
    }
    let found = logits(&linear, &ids, &layout, None);
    assert_close("linear", &found.detach(), &wanted["linear"], 1e-4);
}

#[test]
fn adapters_and_merged_weights_equal_peft() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    let model = tiny("tied").model;
    for name in ["adapter", "rslora"] {
        let lora = adapter(name, &model);
        let found = logits(&model, &ids, &layout, Some(&lora));
        assert_close(name, &found, &wanted[name], 1e-4);
        let merged = model.merged(&lora).unwrap();
        let found = logits(&merged, &ids, &layout, None);
        assert_close(&format!("{name} merged"), &found, &wanted[name], 1e-4);
    }
    // and what PEFT itself merged
    let merged = model.merged(&adapter("adapter", &model)).unwrap();
    let found = logits(&merged, &ids, &layout, None);
    assert_close("merged", &found, &wanted["adapter_merged"], 1e-4);
}

#[test]
fn several_adapters_share_one_base() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    let model = tiny("tied").model;
    let (one, two) = (adapter("adapter", &model), adapter("rslora", &model));
    for (name, lora) in [
        ("adapter", Some(&one)),
        ("rslora", Some(&two)),
        ("tied", None),
        ("adapter", Some(&one)),
    ] {
        let found = logits(&model, &ids, &layout, lora);
        assert_close(name, &found, &wanted[name], 1e-4);
    }
}

/// Mean NLL of the labels of train.safetensors.
fn golden_nll(
    train: &HashMap<String, Tensor>,
    model: &CausalLm,
    lora: Option<&Lora>,
) -> candle_core::Result<Tensor> {
    let (ids, layout) = batch(train);
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (range, prompt) in layout.ranges().zip(whole(&train["prompt_lens"])) {
        for at in range.start + prompt..range.end {
            rows.push(at as u32 - 1);
            targets.push(ids[at]);
        }
    }
    let hidden = model.hidden(&ids, &layout, lora, None)?;
    let before = hidden.index_select(&Tensor::new(rows, CPU)?, 0)?;
    let logits = before.matmul(&model.head().to_dtype(candle_core::DType::F32)?.t()?)?;
    candle_nn::loss::cross_entropy(&logits, &Tensor::new(targets, CPU)?)
}

#[test]
fn loss_and_every_adapter_gradient_equal_torch() {
    let train = golden_tensors("tiny-llama/train.safetensors");
    let model = tiny("tied").model;
    let lora = adapter("adapter", &model).trainable().unwrap();
    let loss = golden_nll(&train, &model, Some(&lora)).unwrap();
    let wanted = train["loss"].get(0).unwrap();
    assert_close("loss", &loss, &wanted, 1e-5);
    let grads = loss.backward().unwrap();
    let vars = lora.vars();
    assert_eq!(vars.len(), 2 * 4 * 2);
    for (key, var) in vars {
        let found = grads.get(var.as_tensor()).unwrap();
        assert_close(&key, found, &train[&format!("grad.{key}")], 1e-4);
    }
}

#[test]
fn full_gradients_equal_torch() {
    let train = golden_tensors("tiny-llama/train.safetensors");
    let mut model = tiny("tied").model;
    let vars = model.make_trainable().unwrap();
    assert_eq!(
        vars.iter().map(|(_, v)| v.elem_count()).sum::<usize>(),
        model.n_params()
    );
    let loss = golden_nll(&train, &model, None).unwrap();
    assert_close("loss", &loss, &train["full_loss"].get(0).unwrap(), 1e-5);
    let grads = loss.backward().unwrap();
    for (name, var) in vars {
        let found = grads.get(var.as_tensor()).unwrap();
        assert_close(&name, found, &train[&format!("full_grad.{name}")], 1e-4);
    }
}

#[test]
fn logits_equal_candle_transformers() {
    use candle_transformers::models::llama as theirs;
    // "untied" has a head_dim of its own, which candle-transformers does not know
    for tie in [true, false] {
        let config = Config {
            tie_word_embeddings: tie,
            ..tiny("tied").model.config
        };
        let model = CausalLm::init(&config, 8, CPU).unwrap();
        let c = &model.config;
        let config = theirs::Config {
            hidden_size: c.hidden_size,
            intermediate_size: c.intermediate_size,
            vocab_size: c.vocab_size,
            num_hidden_layers: c.num_hidden_layers,
            num_attention_heads: c.num_attention_heads,
            num_key_value_heads: c.num_key_value_heads,
            use_flash_attn: false,
            rms_norm_eps: c.rms_norm_eps,
            rope_theta: c.rope_theta as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: c.max_position_embeddings,
            tie_word_embeddings: c.tie_word_embeddings,
        };
        let weights: HashMap<String, Tensor> = model.tensors().into_iter().collect();
        let vb = candle_nn::VarBuilder::from_tensors(weights, DType::F32, CPU);
        let oracle = theirs::Llama::load(vb, &config).unwrap();
        let mut cache = theirs::Cache::new(false, DType::F32, &config, CPU).unwrap();
        let ids: Vec<u32> = (0..20).map(|i| 3 + i * 37 % 90).collect();
        let input = Tensor::new(ids.as_slice(), CPU)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let wanted = oracle.forward(&input, 0, &mut cache).unwrap();
        let found = logits(&model, &ids, &Ragged::from_lens(&[20]), None);
        let last = found.narrow(0, 19, 1).unwrap();
        assert_close(&format!("tied: {tie}"), &last, &wanted, 1e-4);
    }
}

fn small() -> Config {
    Config {
        max_position_embeddings: 48,
        ..tiny("tied").model.config
    }
}

fn ids(n: usize, start: u32) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + (start + i * 29) % 90).collect()
}

fn extend(
    model: &CausalLm,
    parts: &[(&SeqId, &[u32])],
    cache: &mut KvCache,
    lora: Option<&Lora>,
) -> Tensor {
    let lens: Vec<usize> = parts.iter().map(|(_, ids)| ids.len()).collect();
    let seqs: Vec<SeqId> = parts.iter().map(|(seq, _)| **seq).collect();
    let ids: Vec<u32> = parts
        .iter()
        .flat_map(|(_, ids)| ids.iter().copied())
        .collect();
    model
        .extend(&ids, &Ragged::from_lens(&lens), &seqs, cache, lora)
        .unwrap()
}

#[test]
fn cached_decoding_equals_the_full_forward() {
    let model = tiny("untied").model;
    let lora = Lora::init(&LoraConfig::default(), &model, 1).unwrap();
    let lora = lora.trainable().unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let noise = varied(var.dims(), i as u64, 0.1)
            .to_dtype(DType::F32)
            .unwrap();
        var.set(&noise).unwrap();
    }
    let (a, b) = (ids(17, 0), ids(9, 40));
    let full = |x: &[u32]| {
        let layout = Ragged::from_lens(&[x.len()]);
        let hidden = model.hidden(x, &layout, Some(&lora), None);
        hidden.unwrap().detach()
    };
    let mut cache = KvCache::new(&model).unwrap();
    let (sa, sb) = (cache.open(None).unwrap(), cache.open(None).unwrap());
    // prefill both, then b alone by one, then both by chunks, then a alone
    let steps: [(usize, usize); 5] = [(5, 3), (0, 1), (4, 1), (1, 1), (7, 3)];
    let (mut na, mut nb) = (0, 0);
    let (mut got_a, mut got_b) = (Vec::new(), Vec::new());
    for (da, db) in steps {
        let out = extend(
            &model,
            &[(&sa, &a[na..na + da]), (&sb, &b[nb..nb + db])],
            &mut cache,
            Some(&lora),
        );
        assert!(!out.track_op(), "extend records a graph");
        got_a.push(out.narrow(0, 0, da).unwrap());
        got_b.push(out.narrow(0, da, db).unwrap());
        (na, nb) = (na + da, nb + db);
        assert_eq!((cache.len(sa), cache.len(sb)), (na, nb));
    }
    let cat = |parts: Vec<Tensor>| {
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|p| p.dim(0).unwrap() > 0)
            .collect();
        Tensor::cat(&parts, 0).unwrap()
    };
    assert_close("a", &cat(got_a), &full(&a), 1e-5);
    assert_close("b", &cat(got_b), &full(&b), 1e-5);
}

#[test]
fn a_shared_prefix_equals_separate_sequences() {
    let model = tiny("tied").model;
    let prompt = ids(11, 7);
    let tails = [ids(6, 1), ids(6, 50), ids(6, 80)];
    let mut cache = KvCache::new(&model).unwrap();
    let parent = cache.open(None).unwrap();
    extend(&model, &[(&parent, &prompt)], &mut cache, None);
    let children: Vec<SeqId> = tails
        .iter()
        .map(|_| cache.open(Some(parent)).unwrap())
        .collect();
    // a grandchild, opened in the middle of the first child
    let mut grandchild = None;
    cache.close(parent);
    let mut found = vec![Vec::new(); 3];
    for step in 0..6 {
        let parts: Vec<(&SeqId, &[u32])> = children
            .iter()
            .zip(&tails)
            .map(|(seq, tail)| (seq, &tail[step..step + 1]))
            .collect();
        let out = extend(&model, &parts, &mut cache, None);
        for (i, rows) in found.iter_mut().enumerate() {
            rows.push(out.narrow(0, i, 1).unwrap());
        }
        if step == 2 {
            grandchild = Some(cache.open(Some(children[0])).unwrap());
        }
    }
    let full = |parts: &[&[u32]]| {
        let ids = parts.concat();
        let layout = Ragged::from_lens(&[ids.len()]);
        model.hidden(&ids, &layout, None, None).unwrap()
    };
    for (i, rows) in found.iter().enumerate() {
        let wanted = full(&[&prompt, &tails[i]]).narrow(0, 11, 6).unwrap();
        let found = Tensor::cat(rows, 0).unwrap();
        assert_close(&format!("child {i}"), &found, &wanted, 1e-5);
    }
    let grandchild = grandchild.unwrap();
    assert_eq!(cache.len(grandchild), 14);
    let tail = ids(4, 33);
    let found = extend(&model, &[(&grandchild, &tail)], &mut cache, None);
    let wanted = full(&[&prompt, &tails[0][..3], &tail]);
    let wanted = wanted.narrow(0, 14, 4).unwrap();
    assert_close("grandchild", &found, &wanted, 1e-5);

    for child in children {
        cache.close(child);
    }
    assert_eq!(
        cache.used_rows(),
        16 + 16 + 16,
        "the grandchild's line is kept, a run of rows each"
    );
    cache.close(grandchild);
    assert_eq!(cache.used_rows(), 0);
    assert!(cache.is_empty());
}

#[test]
fn rows_are_used_again_and_closed_sequences_refused() {
    let model = tiny("tied").model;
    let mut cache = KvCache::new(&model).unwrap();
    let prompt = ids(8, 3);
    let layout = Ragged::from_lens(&[8]);
    let wanted = model.hidden(&prompt, &layout, None, None).unwrap();
    for round in 0..20 {
        let noise = cache.open(None).unwrap();
        extend(&model, &[(&noise, &ids(4, round as u32))], &mut cache, None);
        let seq = cache.open(None).unwrap();
        let found = extend(&model, &[(&seq, &prompt)], &mut cache, None);
        assert_close(&format!("round {round}"), &found, &wanted, 1e-5);
        cache.close(noise);
        cache.close(seq);
        cache.close(seq); // closing twice changes nothing
        let error = cache.open(Some(seq)).unwrap_err().to_string();
        assert!(error.contains("is not open"), "{error}");
    }
    assert_eq!(cache.used_rows(), 0);
    assert!(cache.rows() <= 32, "the store stays as small as the work");
}

#[test]
fn context_overflow_and_foreign_ids_are_errors() {
    let model = CausalLm::init(&small(), 0, CPU).unwrap();
    let long = ids(49, 0);
    let error = model.hidden(&long, &Ragged::from_lens(&[49]), None, None);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("49 tokens") && error.contains("context of 48"),
        "{error}"
    );

    let mut cache = KvCache::new(&model).unwrap();
    let seq = cache.open(None).unwrap();
    extend(&model, &[(&seq, &long[..48])], &mut cache, None);
    let one = Ragged::from_lens(&[1]);
    let error = model.extend(&[5], &one, &[seq], &mut cache, None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("context of 48"), "{error}");

    let error = model
        .hidden(&[96], &one, None, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("token id 96"), "{error}");
}

#[test]
fn a_fresh_adapter_changes_nothing_and_trains_every_part() {
    let model = tiny("tied").model;
    let config = LoraConfig {
        targets: ["q", "k", "v", "o", "gate", "up", "down"]
            .map(|p| format!("{p}_proj"))
            .to_vec(),
        dropout: 0.25,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &model, 9).unwrap();
    let (x, layout) = (ids(12, 0), Ragged::from_lens(&[5, 7]));
    let hidden = |lora: Option<&Lora>, dropout| model.hidden(&x, &layout, lora, dropout).unwrap();
    let bare = hidden(None, None);
    assert_close("fresh", &hidden(Some(&lora), None), &bare, 0.0);

    // A is uniform within ±1/sqrt(in)
    let a = values(&lora.tensors()[0].1);
    let bound = 1.0 / (32f64).sqrt();
    assert!(a.iter().all(|v| v.abs() <= bound) && a.iter().any(|v| v.abs() > 0.9 * bound));
    let again = Lora::init(&config, &model, 9).unwrap();
    assert_eq!(a, values(&again.tensors()[0].1));
    let other = Lora::init(&config, &model, 10).unwrap();
    assert_ne!(a, values(&other.tensors()[0].1));

    let trained = lora.trainable().unwrap();
    for (key, var) in trained.vars() {
        if key.contains("lora_B") {
            let ones = (var.ones_like().unwrap() * 0.05).unwrap();
            var.set(&ones).unwrap();
        }
    }
    // the original is not touched, a frozen view follows
    assert_close("original", &hidden(Some(&lora), None), &bare, 0.0);
    let view = trained.frozen();
    assert!(view.vars().is_empty());
    let on = hidden(Some(&trained), None);
    assert!(on.track_op());
    let seen = hidden(Some(&view), None);
    assert!(!seen.track_op(), "a frozen adapter records nothing");
    assert_close("view", &seen, &on.detach(), 0.0);

    // dropout: the seed decides, and no seed means none
    let drop = |seed| values(&hidden(Some(&trained), Some(seed)));
    assert_eq!(drop(1), drop(1));
    assert_ne!(drop(1), drop(2));
    assert_ne!(drop(1), values(&on));

    let weights = Tensor::arange(0f32, 32.0, CPU).unwrap();
    let loss = hidden(Some(&trained), Some(1)).broadcast_mul(&weights);
    let grads = loss.unwrap().sum_all().unwrap().backward().unwrap();
    for (key, var) in trained.vars() {
        let g = values(grads.get(var.as_tensor()).expect(&key));
        assert!(g.iter().all(|v| v.is_finite()), "{key}");
        assert!(g.iter().any(|v| *v != 0.0), "{key}");
    }
}

#[test]
fn dropout_keeps_the_mean() {
    // B is small and acts in the last layer only, so its effect is nearly linear: the mean over seeds comes near the
    // value without dropout
    let model = tiny("tied").model;
    let config = LoraConfig {
        targets: vec!["down_proj".into()],
        dropout: 0.5,
        r: 1,
        alpha: 1.0,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &model, 2).unwrap().trainable().unwrap();
    for (key, var) in lora.vars() {
        if key.contains("layers.1") && key.contains("lora_B") {
            var.set(&(var.ones_like().unwrap() * 1e-3).unwrap())
                .unwrap();
        }
    }
    let lora = lora.frozen();
    let (x, layout) = (ids(6, 0), Ragged::from_lens(&[6]));
    let hidden = |lora: Option<&Lora>, seed| model.hidden(&x, &layout, lora, seed).unwrap();
    let bare = hidden(None, None);
    let effect = (hidden(Some(&lora), None) - &bare).unwrap();
    let n = 600;
    let mut sum = bare.zeros_like().unwrap();
    for seed in 0..n {
        sum = (sum + (hidden(Some(&lora), Some(seed)) - &bare).unwrap()).unwrap();
    }
    let mean = (sum / n as f64).unwrap();
    let size = |t: &Tensor| values(t).iter().map(|v| v * v).sum::<f64>().sqrt();
    let off = size(&(mean - &effect).unwrap()) / size(&effect);
    assert!(
        off < 0.15,
        "mean under dropout is off by {off:.3} of the effect"
    );
}

#[test]
fn a_target_that_matches_nothing_is_an_error() {
    let model = tiny("tied").model;
    let error = |config: LoraConfig| Lora::init(&config, &model, 0).unwrap_err().to_string();
    let config = LoraConfig {
        targets: vec!["q_proj".into(), "query".into()],
        ..LoraConfig::default()
    };
    let text = error(config);
    assert!(
        text.contains("\"query\" matches no layer") && text.contains("q_proj"),
        "{text}"
    );
    for (config, part) in [
        (
            LoraConfig {
                r: 0,
                ..LoraConfig::default()
            },
            "lora.r",
        ),
        (
            LoraConfig {
                targets: vec![],
                ..LoraConfig::default()
            },
            "lora.targets is empty",
        ),
        (
            LoraConfig {
                dropout: 1.0,
                ..LoraConfig::default()
            },
            "lora.dropout",
        ),
        (
            LoraConfig {
                alpha: f64::NAN,
                ..LoraConfig::default()
            },
            "lora.alpha",
        ),
    ] {
        let text = error(config);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn fingerprints_tell_models_apart() {
    let model = tiny("tied").model;
    let fingerprint = model.fingerprint().unwrap();
    assert_eq!(fingerprint, tiny("tied").model.fingerprint().unwrap());
    assert_ne!(fingerprint, tiny("untied").model.fingerprint().unwrap());
    let merged = model.merged(&adapter("adapter", &model)).unwrap();
    assert_ne!(fingerprint, merged.fingerprint().unwrap());
    let plain = Lora::init(&LoraConfig::default(), &model, 0).unwrap();
    let same = model.merged(&plain).unwrap();
    assert_eq!(fingerprint, same.fingerprint().unwrap());
}

#[test]
fn a_scalar_head_computes_trains_and_round_trips() {
    let head = ScalarHead::init(4, 0.5, 3, CPU)
        .unwrap()
        .trainable()
        .unwrap();
    let vars: HashMap<_, _> = head.vars().into_iter().collect();
    vars["bias"]
        .set(&Tensor::new(&[0.25f32], CPU).unwrap())
        .unwrap();
    let w = values(vars["weight"].as_tensor());
    let x = Tensor::new(&[[1f32, 2., 3., 4.], [0., -1., 0.5, 2.]], CPU).unwrap();
    let dot = |row: [f64; 4]| row.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>() + 0.25;
    let wanted = [dot([1., 2., 3., 4.]), dot([0., -1., 0.5, 2.])];
    let found = head.apply(&x).unwrap();
    testkit::assert_close_slices("scores", &values(&found), &wanted, 1e-6);
    let grads = found.sum_all().unwrap().backward().unwrap();
    assert_eq!(
        values(grads.get(vars["weight"].as_tensor()).unwrap()),
        [1., 1., 3.5, 6.]
    );
    assert_eq!(values(grads.get(vars["bias"].as_tensor()).unwrap()), [2.]);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("head.safetensors");
    head.save(&file).unwrap();
    let again = ScalarHead::load(&file, 4, CPU).unwrap();
    assert!(again.vars().is_empty());
    assert_eq!(values(&again.apply(&x).unwrap()), values(&found));
    let error = ScalarHead::load(&file, 8, CPU).unwrap_err().to_string();
    assert!(
        error.contains("head.safetensors: tensor weight is [1, 4]"),
        "{error}"
    );
    let zero = ScalarHead::zeros(4, CPU).unwrap();
    assert_eq!(values(&zero.apply(&x).unwrap()), [0., 0.]);
}

#[test]
fn sequences_that_share_a_prompt_are_what_they_are_alone() {
    let model = tiny("tied").model;
    let lora = adapter("adapter", &model).trainable().unwrap();
    let prompts = [ids(5, 3), ids(7, 11)];
    let answers = [ids(3, 20), ids(1, 31), ids(0, 0), ids(4, 40), ids(2, 50)];
    let of_prompt = [0, 0, 0, 1, 1];
    let rows: Vec<Vec<u32>> = answers
        .iter()
        .zip(of_prompt)
        .map(|(answer, p)| [prompts[p].as_slice(), answer].concat())
        .collect();
    let sequences: Vec<models::Sequence> = rows
        .iter()
        .zip(of_prompt)
        .map(|(row, p)| (row.as_slice(), prompts[p].len()))
        .collect();
    // the sum over every row of each answer's states, weighed so that no two count alike
    let loss = |hidden: &Tensor, rows: &[u32]| {
        let rows = hidden
            .index_select(&Tensor::new(rows, CPU).unwrap(), 0)
            .unwrap();
        let weights = varied(&[rows.dim(0).unwrap(), rows.dim(1).unwrap()], 5, 1.0);
        (rows * weights.to_dtype(DType::F32).unwrap())
            .unwrap()
            .sum_all()
            .unwrap()
    };

    let packed = models::Packed::new(&sequences);
    assert_eq!(packed.ids.len(), 5 + 3 + 1 + 7 + 4 + 2, "each prompt once");
    let shared = model
        .hidden(&packed.ids, &packed.layout(), Some(&lora), None)
        .unwrap();
    let places: Vec<u32> = (0..rows.len())
        .flat_map(|seq| (0..rows[seq].len()).map(move |at| (seq, at)))
        .map(|(seq, at)| packed.row(seq, at) as u32)
        .collect();
    let alone = Ragged::from_lens(&rows.iter().map(Vec::len).collect::<Vec<_>>());
    let alone = model
        .hidden(&rows.concat(), &alone, Some(&lora), None)
        .unwrap();
    let all: Vec<u32> = (0..places.len() as u32).collect();
    let at_places = shared
        .index_select(&Tensor::new(places.as_slice(), CPU).unwrap(), 0)
        .unwrap();
    assert_close("states", &at_places, &alone, 1e-5);

    let [shared, alone] =
        [loss(&shared, &places), loss(&alone, &all)].map(|l| l.backward().unwrap());
    for (name, var) in lora.vars() {
        assert_close(
            &name,
            shared.get(&var).unwrap(),
            alone.get(&var).unwrap(),
            1e-4,
        );
    }
}

#[test]
fn micro_batches_count_a_shared_prompt_once() {
    let row = ids(10, 0); // 6 of prompt, 4 of answer: 10 alone, 4 more for each that shares
    let other = ids(10, 50);
    let units = |rows: &[&Vec<u32>]| -> Vec<Vec<(Vec<u32>, usize)>> {
        rows.iter().map(|row| vec![((*row).clone(), 6)]).collect()
    };
    let cut = |units: &[Vec<(Vec<u32>, usize)>], max| {
        let units: Vec<Vec<models::Sequence>> = units
            .iter()
            .map(|unit| unit.iter().map(|(ids, n)| (ids.as_slice(), *n)).collect())
            .collect();
        models::micro_batches(&units, max)
    };
    let same = units(&[&row, &row, &row, &other]);
    assert_eq!(cut(&same, 18), [0..3, 3..4]);
    assert_eq!(cut(&same, 17), [0..2, 2..3, 3..4]);
    assert_eq!(cut(&same, 28), std::slice::from_ref(&(0..4)));
    assert_eq!(cut(&same, 1), [0..1, 1..2, 2..3, 3..4]);
    assert!(cut(&[], 5).is_empty());
}
