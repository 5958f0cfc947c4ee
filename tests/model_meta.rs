//! The memory of weights is counted correctly before they are loaded, and no more of their files is
//! read than the count needs.

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Tensor};
use half::f16;
use models::{CausalLm, Fetch, ModelMeta, ModelSource, SamplingWeights, WeightStorage, model_meta};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use testkit::{assert_close, golden};

const CPU: &Device = &Device::Cpu;
const STORAGES: [WeightStorage; 3] = [
    WeightStorage::Exact,
    WeightStorage::Rounded,
    WeightStorage::Whole,
];

fn open(source: &ModelSource) -> ModelMeta {
    model_meta(source, Fetch::Shape).unwrap()
}

/// Asserts that the count equals what is loaded in every storage. Returns the bytes of each.
#[track_caller]
fn counted(source: &ModelSource) -> [usize; 3] {
    STORAGES.map(|storage| {
        let meta = open(source);
        let weights = meta.weights(storage).unwrap();
        assert!(weights.present);
        let config = meta.config.clone();
        let model = meta.load(CPU, storage).unwrap().model;
        assert_eq!(weights.bytes(), model.bytes(), "{source:?} {storage:?}");
        assert_eq!(weights.n_params, model.n_params(), "{source:?}");
        for narrow in [
            SamplingWeights::Same,
            SamplingWeights::Bf16,
            SamplingWeights::Int8,
        ] {
            let copy = model.with_sampling_weights(narrow).unwrap();
            assert_eq!(
                weights.extra_bytes(&config, narrow),
                copy.map_or(0, |copy| copy.extra_bytes(&model)),
                "{source:?} {storage:?} {narrow:?}"
            );
        }
        weights.bytes()
    })
}

fn dir_of(dir: &TempDir) -> ModelSource {
    ModelSource::Dir(dir.path().to_path_buf())
}

/// The golden model in a directory of its own, its weights changed and written in this dtype.
fn model(dtype: DType, change: impl Fn(&str, Vec<f32>) -> Vec<f32>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = golden("tiny-llama/untied");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    let model = models::load(&ModelSource::Dir(from), CPU).unwrap().model;
    let tensors = model.tensors().into_iter().map(|(name, tensor)| {
        let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        let values = change(&name, values.to_vec1().unwrap());
        let tensor = Tensor::from_vec(values, tensor.dims(), CPU).unwrap();
        (name, tensor.to_dtype(dtype).unwrap())
    });
    let tensors: HashMap<String, Tensor> = tensors.collect();
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors")).unwrap();
    dir
}

fn rounded(_: &str, values: Vec<f32>) -> Vec<f32> {
    let round = |x: f32| half::bf16::from_f32(x).to_f32();
    values.into_iter().map(round).collect()
}

/// In bf16, but for the last number of one matrix.
fn nearly(name: &str, values: Vec<f32>) -> Vec<f32> {
    let mut values = rounded(name, values);
    if name == "model.layers.1.mlp.up_proj.weight" {
        *values.last_mut().unwrap() = 1.001;
    }
    values
}

#[test]
fn safetensors_of_every_dtype_are_counted_as_they_are_loaded() {
    let plain = |_: &str, values: Vec<f32>| values;
    let in_f32 = counted(&dir_of(&model(DType::F32, plain)));
    let [exact, half, whole] = in_f32;
    let mut vectors = 0;
    for (_, tensor) in models::load(&dir_of(&model(DType::F32, plain)), CPU)
        .unwrap()
        .model
        .tensors()
    {
        vectors += if tensor.rank() == 1 {
            tensor.elem_count()
        } else {
            0
        };
    }
    assert_eq!(exact, whole);
    assert_eq!(half, whole / 2 + 2 * vectors);
    assert_eq!(counted(&dir_of(&model(DType::F16, plain))), in_f32);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let held = counted(&dir_of(&model(dtype, rounded)));
        assert_eq!(held, [half, half, whole], "{dtype:?}");
    }
    for dtype in [DType::F32, DType::F16] {
        let [exact, ..] = counted(&dir_of(&model(dtype, nearly)));
        assert!(half < exact && exact < whole, "{dtype:?}");
    }
}

#[test]
fn f16_numbers_fit_bf16_where_the_loader_finds_that_they_do() {
    let held = |x: &f16| x.is_finite() && x.to_f32().to_bits() & 0xffff == 0;
    let all = (0..=u16::MAX).map(f16::from_bits);
    let all: Vec<f32> = all.filter(held).map(f16::to_f32).collect();
    let at = std::cell::Cell::new(0);
    let next = |_: f32| {
        at.set(at.get() + 1);
        all[at.get() % all.len()]
    };
    let dir = model(DType::F16, |_, values| {
        values.into_iter().map(next).collect()
    });
    assert!(at.get() > all.len());
    let [exact, half, _] = counted(&dir_of(&dir));
    assert_eq!(exact, half);
    // eight ones after the first, of a normal number and of the smallest
    for bits in [0x3c01, 0xbbff, 0x01ff, 0x83fd] {
        let [exact, ..] = counted(&dir_of(&model(DType::F16, |name, values| {
            let mut values = rounded(name, values);
            if name == "lm_head.weight" {
                values[700] = f16::from_bits(bits).to_f32();
            }
            values
        })));
        assert!(exact > half, "{bits:x}");
    }
}

/// A golden GGUF file with every tensor in another type.
fn gguf(dir: &Path, dtype: GgmlDType, change: impl Fn(&str, Vec<f32>) -> Vec<f32>) -> ModelSource {
    let mut file = fs::File::open(golden("tiny-gguf/spm.gguf")).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    for name in content.tensor_infos.keys() {
        let tensor = content.tensor(&mut file, name, CPU).unwrap();
        let shape = tensor.shape().clone();
        let values = tensor.dequantize(CPU).unwrap().flatten_all().unwrap();
        let values = change(name, values.to_vec1().unwrap());
        let tensor = Tensor::from_vec(values, shape.dims(), CPU).unwrap();
        let dtype = if shape.rank() == 1 {
            GgmlDType::F32
        } else {
            dtype
        };
        tensors.push((name.clone(), QTensor::quantize(&tensor, dtype).unwrap()));
    }
    let metadata: Vec<(&str, &gguf_file::Value)> = content
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v))
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let path = dir.join(format!("{dtype:?}.gguf"));
    let mut out = fs::File::create(&path).unwrap();
    gguf_file::write(&mut out, &metadata, &tensors).unwrap();
    ModelSource::Gguf(path)
}

#[test]
fn gguf_files_are_counted_as_they_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let uneven = |_: &str, values: Vec<f32>| values.iter().map(|x| x * 1.003 + 1e-4).collect();
    for dtype in [GgmlDType::F32, GgmlDType::F16] {
        let [exact, half, whole] = counted(&gguf(dir.path(), dtype, rounded));
        assert_eq!(exact, half, "{dtype:?}");
        let [exact, ..] = counted(&gguf(dir.path(), dtype, uneven));
        assert_eq!(exact, whole, "{dtype:?}");
    }
    let [exact, half, _] = counted(&gguf(dir.path(), GgmlDType::BF16, uneven));
    assert_eq!(exact, half);
    // 34 bytes for 32 numbers where the file has quantised blocks, unless they are trained
    let [exact, half, whole] = counted(&gguf(dir.path(), GgmlDType::Q8_0, rounded));
    assert!(exact <= half && 3 * half < whole, "{exact} {half} {whole}");
}

/// The header is read once, and its file stays open.
#[test]
fn weights_come_from_the_file_whose_header_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = gguf(dir.path(), GgmlDType::F32, rounded);
    let wanted = models::load(&source, CPU).unwrap().model;
    let before = open(&source);
    let ModelSource::Gguf(path) = &source else {
        unreachable!()
    };
    fs::remove_file(path).unwrap();
    let model = before.load(CPU, WeightStorage::Exact).unwrap().model;
    for ((name, found), (_, wanted)) in model.tensors().iter().zip(wanted.tensors()) {
        assert_close(name, found, &wanted, 0.0);
    }
}

/// On a GPU a frozen base is rounded; a trained one has the file's numbers.
#[test]
fn a_trained_base_starts_from_the_numbers_of_its_file() {
    assert_eq!(WeightStorage::of(true, false), WeightStorage::Exact);
    assert_eq!(WeightStorage::of(false, false), WeightStorage::Rounded);
    let dir = model(DType::F32, |_, values| values);
    let file = dir.path().join("model.safetensors");
    let file = candle_core::safetensors::load(file, CPU).unwrap();
    for on_cpu in [true, false] {
        let storage = WeightStorage::of(on_cpu, true);
        let mut base = open(&dir_of(&dir)).load(CPU, storage).unwrap().model;
        let vars = base.make_trainable().unwrap();
        assert_eq!(vars.len(), file.len());
        for (name, var) in vars {
            assert_close(&name, var.as_tensor(), &file[&name], 0.0);
        }
    }
    let frozen = open(&dir_of(&dir))
        .load(CPU, WeightStorage::Rounded)
        .unwrap()
        .model;
    for (name, found) in frozen.tensors() {
        let wanted = match found.rank() {
            2 => file[&name].to_dtype(DType::BF16).unwrap(),
            _ => file[&name].clone(),
        };
        let exact = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        assert_close(&name, &exact(&found), &exact(&wanted), 0.0);
    }
}

#[test]
fn weights_are_opened_only_if_needed() {
    let dir = model(DType::F32, rounded);
    let file = dir.path().join("model.safetensors");
    let random = |seed| {
        let meta = ModelMeta::random(dir.path(), seed).unwrap();
        let weights = meta.weights(WeightStorage::Whole).unwrap();
        assert!(weights.present);
        let model = meta.load(CPU, WeightStorage::Whole).unwrap().model;
        assert_eq!(weights.bytes(), model.bytes());
        model
    };
    let wanted = CausalLm::init(&open(&dir_of(&dir)).config, 7, CPU).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (content, says) in [
        (pointer, "is a pointer of Git LFS, not the weights"),
        ("no weights at all", "corrupt or truncated"),
    ] {
        fs::write(&file, content).unwrap();
        for ((name, found), (_, wanted)) in random(7).tensors().iter().zip(wanted.tensors()) {
            assert_close(name, found, &wanted, 0.0);
        }
        let is_pointer = content == pointer;
        for storage in [WeightStorage::Rounded, WeightStorage::Whole] {
            let weights = open(&dir_of(&dir)).weights(storage).unwrap();
            assert_eq!(weights.present, !is_pointer);
        }
        // where the numbers decide, a pointer to missing weights is accepted, a corrupt file is not
        match open(&dir_of(&dir)).weights(WeightStorage::Exact) {
            Ok(weights) => assert!(is_pointer && !weights.present),
            Err(error) => assert!(!is_pointer && error.to_string().contains(says)),
        }
        let error = open(&dir_of(&dir))
            .load(CPU, WeightStorage::Exact)
            .err()
            .unwrap();
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}
