//! `model.weights`: a base in quantised blocks computes what the expanded numbers compute, in every
//! role.

use crate::common::all_targets;
use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use models::{
    BaseWeights, CausalLm, Fetch, KvCache, Loaded, Lora, LoraConfig, ModelMeta, ModelSource,
    WeightStorage,
};
use ops::{QuantisedBlocks, Ragged};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use testkit::{assert_close, golden, values, varied};

const CPU: &Device = &Device::Cpu;
/// Hidden size, and the width of Down: 256 numbers are a block of q4_k, 640 are not whole blocks.
const WIDTHS: [usize; 2] = [256, 640];
const ROUNDED: [(BaseWeights, [QuantisedBlocks; 2]); 3] = [
    (
        BaseWeights::Q8_0,
        [QuantisedBlocks::Q8_0, QuantisedBlocks::Q8_0],
    ),
    (
        BaseWeights::Q4_0,
        [QuantisedBlocks::Q4_0, QuantisedBlocks::Q4_0],
    ),
    (
        BaseWeights::Q4_K,
        [QuantisedBlocks::Q4_K, QuantisedBlocks::Q5_0],
    ),
];

/// The tiny world's base.
fn source() -> ModelSource {
    ModelSource::Dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny/base"))
}

fn model_meta(source: &ModelSource, weights: BaseWeights) -> ModelMeta {
    let mut meta = models::model_meta(source, Fetch::Whole).unwrap();
    meta.projections = weights;
    meta
}

fn load(weights: BaseWeights) -> Loaded {
    model_meta(&source(), weights)
        .load(CPU, WeightStorage::Exact)
        .unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let wide = ops::widened(tensor).unwrap().to_dtype(DType::F32).unwrap();
    let numbers = wide.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// Trainable, on every projection; B is not zero.
fn adapter(model: &CausalLm) -> Lora {
    let config = LoraConfig {
        r: 3,
        targets: all_targets(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 5).unwrap().trainable().unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let noise = varied(var.dims(), i as u64, 0.02).to_dtype(DType::F32);
        var.set(&noise.unwrap()).unwrap();
    }
    lora
}

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i * 37 % 1000 + 3).collect()
}

/// Loss and gradients of an adapter, the bits of them.
fn gradients(model: &CausalLm) -> Vec<Vec<u32>> {
    let lora = adapter(model);
    let layout = Ragged::from_lens(&[40, 60]);
    let hidden = model.hidden(&ids(100), &layout, Some(&lora), None).unwrap();
    let scores = ops::token_scores(&hidden, model.head(), &ids(100), &[1.0; 100]).unwrap();
    let loss = scores.logp.mean_all().unwrap();
    let gradients = loss.backward().unwrap();
    let of_vars = lora
        .vars()
        .into_iter()
        .map(|(_, var)| bits(gradients.get(&var).unwrap()));
    std::iter::once(bits(&loss)).chain(of_vars).collect()
}

#[test]
fn projections_are_rounded_while_they_are_read_and_counted_before_that() {
    let (stored, mut of) = (load(BaseWeights::Stored).model, Vec::new());
    for (weights, formats) in ROUNDED {
        let meta = model_meta(&source(), weights);
        let unwieldy = if formats[0] == formats[1] { 0 } else { 3 };
        assert_eq!(
            weights.count_fallbacks(&meta.config).unwrap(),
            (unwieldy, 21)
        );
        let counted = meta.weights(WeightStorage::Exact).unwrap().bytes();
        let on_gpu = meta.weights(WeightStorage::Rounded).unwrap();
        // a matrix of 256 x 640 in bf16
        assert_eq!(on_gpu.bytes_in_use() - on_gpu.bytes(), 2 * 256 * 640);
        assert_eq!(
            meta.weights(WeightStorage::Whole).unwrap().bytes(),
            4 * on_gpu.n_params
        );
        let model = meta.load(CPU, WeightStorage::Exact).unwrap().model;
        assert_eq!(counted, model.bytes(), "{weights:?}");
        let mut blocks = 0;
        for ((name, kept), (_, was)) in model.tensors().into_iter().zip(stored.tensors()) {
            if !name.contains("_proj") {
                assert_eq!(
                    (kept.dtype(), bits(&kept)),
                    (was.dtype(), bits(&was)),
                    "{name}"
                );
                continue;
            }
            let format = formats[usize::from(name.contains("down"))];
            assert_eq!(QuantisedBlocks::of(&kept), Some(format), "{name}");
            assert_eq!(bits(&kept), bits(&format.round(&was).unwrap()), "{name}");
            blocks += kept.elem_count();
        }
        let rest = 2 * 1008 * 256 + 4 * 7 * 256;
        assert_eq!((counted, on_gpu.bytes()), (rest + blocks, rest + blocks));
        of.push(blocks);
    }
    // 8.5, 4.5 and, with Down in q5_0, less than 5 bits each
    let n = 3 * (256 * (256 + 128 + 128 + 256) + 3 * 256 * 640);
    assert_eq!(of[0], n * 34 / 32);
    assert_eq!(of[1], n * 18 / 32);
    assert_eq!(of[2], n * 144 / 256 + 3 * WIDTHS[0] * WIDTHS[1] * 4 / 32);
}

#[test]
fn a_quantised_base_computes_what_its_expanded_numbers_compute() {
    for (weights, _) in ROUNDED {
        let base = load(weights);
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = &base.tokenizer;
        base.model
            .save_hf(dir.path(), tokenizer, &base.special, None)
            .unwrap();
        let wide = models::load(&ModelSource::Dir(dir.path().to_path_buf()), CPU)
            .unwrap()
            .model;
        let mut model = base.model;
        assert_eq!(model.fingerprint().unwrap(), wide.fingerprint().unwrap());
        let found = gradients(&model);
        assert_eq!(found, gradients(&wide), "{weights:?}");
        model.checkpoint_layers(3);
        assert_eq!(found, gradients(&model), "{weights:?}, checkpointed");

        // token by token
        let (lora, ids) = (adapter(&model), ids(30));
        let layout = Ragged::from_lens(&[30]);
        let wanted = model.hidden(&ids, &layout, Some(&lora), None).unwrap();
        let mut cache = KvCache::new(&model).unwrap();
        let seq = cache.open(None).unwrap();
        let (lone, mut rows) = (Ragged::from_lens(&[1]), Vec::new());
        for id in &ids {
            let row = model.forward_cached(&[*id], &lone, &[seq], &mut cache, Some(&lora));
            rows.push(row.unwrap());
        }
        let found = Tensor::cat(&rows, 0).unwrap();
        assert_close(&format!("{weights:?}"), &found, &wanted.detach(), 1e-4);

        // merged: the expanded numbers and the adapter's
        let merged = model.merged(&lora.frozen()).unwrap();
        let found = merged.hidden(&ids, &layout, None, None).unwrap();
        assert_close("merged", &found, &wanted.detach(), 1e-4);

        // every weight
        let vars = model.make_trainable().unwrap();
        for ((name, var), (_, wide)) in vars.iter().zip(wide.tensors()) {
            assert_eq!(bits(var.as_tensor()), bits(&wide), "{name}");
        }
    }
}

#[test]
fn an_adapter_belongs_to_the_format_of_its_base() {
    let base = load(BaseWeights::Q4_0).model;
    let dir = tempfile::tempdir().unwrap();
    adapter(&base).save(dir.path(), "org/name").unwrap();
    assert!(Lora::load(dir.path(), &base).is_ok());
    let config = fs::read_to_string(dir.path().join("adapter_config.json")).unwrap();
    assert!(
        config.contains("\"base_model_name_or_path\": \"org/name\""),
        "{config}"
    );
    let other = load(BaseWeights::Stored).model;
    let error = Lora::load(dir.path(), &other).unwrap_err().to_string();
    assert!(error.contains("belongs to another base"), "{error}");
}

#[test]
fn the_quantised_blocks_of_a_gguf_file_are_kept() {
    for (name, kind) in [
        ("spm", QuantisedBlocks::Q8_0),
        ("bpe", QuantisedBlocks::Q4_0),
    ] {
        let file = golden(&format!("tiny-gguf/{name}.gguf"));
        let bytes = fs::read(&file).unwrap();
        let meta = model_meta(&ModelSource::Gguf(file.clone()), BaseWeights::Stored);
        let counted = meta.weights(WeightStorage::Exact).unwrap().bytes();
        let model = meta.load(CPU, WeightStorage::Exact).unwrap().model;
        assert_eq!(counted, model.bytes(), "{name}");
        let mut reader = Cursor::new(&bytes);
        let content = Content::read(&mut reader).unwrap();
        let mut compared = 0;
        for (hf, kept) in model.tensors() {
            // the rows of q and k are in another order
            let of_file = [
                ("self_attn.v_proj", "attn_v"),
                ("self_attn.o_proj", "attn_output"),
                ("mlp.gate_proj", "ffn_gate"),
                ("mlp.up_proj", "ffn_up"),
                ("mlp.down_proj", "ffn_down"),
                ("model.embed_tokens", "token_embd"),
            ];
            let Some((ours, theirs)) = of_file.into_iter().find(|(ours, _)| hf.contains(ours))
            else {
                continue;
            };
            let of_file = hf.replace(ours, theirs).replace("model.layers", "blk");
            let stored = content.tensor(&mut reader, &of_file, CPU).unwrap();
            let format = QuantisedBlocks::ALL
                .into_iter()
                .find(|b| b.ggml() == stored.dtype());
            assert_eq!(QuantisedBlocks::of(&kept), format, "{name} {hf}");
            let wanted = stored.dequantize(CPU).unwrap();
            assert_eq!(bits(&kept), bits(&wanted), "{name} {hf}");
            compared += usize::from(format == Some(kind));
        }
        assert!(compared > 1, "{name}: {compared}");
    }
    // rounded to another format if asked for; what already has it is kept
    let file = ModelSource::Gguf(golden("tiny-gguf/spm.gguf"));
    let read = |weights| {
        model_meta(&file, weights)
            .load(CPU, WeightStorage::Exact)
            .unwrap()
            .model
    };
    let (stored, same) = (read(BaseWeights::Stored), read(BaseWeights::Q8_0));
    assert_eq!(stored.fingerprint().unwrap(), same.fingerprint().unwrap());
    let rounded = read(BaseWeights::Q4_0);
    for ((name, kept), (_, was)) in rounded.tensors().iter().zip(stored.tensors()) {
        if name.contains("_proj") && QuantisedBlocks::of(kept) == Some(QuantisedBlocks::Q4_0) {
            let wide = ops::widened(&was).unwrap();
            assert_eq!(
                bits(kept),
                bits(&QuantisedBlocks::Q4_0.round(&wide).unwrap()),
                "{name}"
            );
        } else {
            assert_eq!(bits(kept), bits(&was), "{name}");
        }
    }
    assert!(rounded.bytes() < stored.bytes());
}

#[test]
fn impossible_formats_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden("tiny-llama/tied")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    (config["hidden_size"], config["num_attention_heads"]) = (40.into(), 4.into());
    config["num_key_value_heads"] = 2.into();
    config["head_dim"] = 10.into();
    fs::write(&file, config.to_string()).unwrap();
    let shape = model_meta(
        &ModelSource::Dir(dir.path().to_path_buf()),
        BaseWeights::Stored,
    )
    .config;
    assert_eq!(BaseWeights::Stored.count_fallbacks(&shape).unwrap().0, 0);
    let error = BaseWeights::Q4_0
        .count_fallbacks(&shape)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("model.weights = \"q4_0\": "), "{error}");
    assert!(error.contains("multiple of 32"), "{error}");

    // an unknown ggml type; its number is behind a tensor's name and shape
    let mut bytes = fs::read(golden("tiny-gguf/spm.gguf")).unwrap();
    let name = b"token_embd.weight";
    let at = bytes.windows(name.len()).rposition(|w| w == name).unwrap();
    bytes[at + name.len() + 4 + 16] = 23;
    let file = dir.path().join("m.gguf");
    fs::write(&file, bytes).unwrap();
    let error = models::model_meta(&ModelSource::Gguf(file), Fetch::Whole)
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(
        error.contains("m.gguf: holds tensors of ggml's type 23"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn fewer_bits_are_further_from_the_base_but_close() {
    let logp = |weights| {
        let model = load(weights).model;
        let layout = Ragged::from_lens(&[100]);
        let hidden = model.hidden(&ids(100), &layout, None, None).unwrap();
        let scores = ops::token_scores(&hidden, model.head(), &ids(100), &[1.0; 100]).unwrap();
        values(&scores.entropy)
    };
    let base = logp(BaseWeights::Stored);
    let apart = |weights| {
        let found = logp(weights);
        let gaps = found.iter().zip(&base).map(|(a, b)| (a - b).abs());
        gaps.sum::<f64>() / base.len() as f64
    };
    let [q8, q4_0, q4_k] = ROUNDED.map(|(weights, _)| apart(weights));
    assert!(
        0.0 < q8 && q8 < q4_k && q4_k < q4_0 && q4_0 < 0.3,
        "{q8} {q4_k} {q4_0}"
    );
}
