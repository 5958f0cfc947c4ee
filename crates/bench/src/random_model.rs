//! Models with random weights in bf16: the cost of a step depends only on shapes.

use anyhow::{Context, Result, anyhow};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub(crate) const LAYERS: usize = 12;
/// Width of a head.
const HEAD: usize = 64;

/// Options of `bench random-model`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model's config.json, of the LLaMA family
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Directory of tokenizer.json and tokenizer_config.json
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// Directory to write
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let config = read_json(&args.config)?;
    write(&config, &args.tokenizer, &args.out)
}

/// A config like that of the directory `like`, of [`LAYERS`] layers of a width. Heads have a width
/// of 64, four query heads share a key head, and the feed-forward width is 11/4 of the model's.
pub(crate) fn config_of_width(like: &Path, width: usize) -> Result<Value> {
    let mut config = read_json(&like.join("config.json"))?;
    let (heads, ffn) = (width / HEAD, width * 11 / 4);
    let shape = json!({
        "hidden_size": width, "intermediate_size": ffn, "num_hidden_layers": LAYERS,
        "head_dim": HEAD, "num_attention_heads": heads, "num_key_value_heads": heads / 4,
    });
    let shape = shape.as_object().expect("an object").clone();
    let keys = config.as_object_mut();
    keys.context("config.json is not an object")?.extend(shape);
    Ok(config)
}

/// Writes a Hugging Face directory: the config, the tokenizer of another directory, and the
/// weights, a file for each layer. Norms are ones, other weights N(0, 0.02).
pub(crate) fn write(config: &Value, tokenizer: &Path, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tokenizer.join(file), out.join(file)).with_context(|| file.to_string())?;
    }
    std::fs::write(out.join("config.json"), config.to_string())?;
    let number = |key: &str| {
        let value = config[key].as_u64();
        value.map(|n| n as usize).with_context(|| key.to_string())
    };
    let (width, ffn, layers) = (
        number("hidden_size")?,
        number("intermediate_size")?,
        number("num_hidden_layers")?,
    );
    let (heads, vocab) = (number("num_attention_heads")?, number("vocab_size")?);
    let head = number("head_dim").unwrap_or(width / heads);
    let keys = head * number("num_key_value_heads").unwrap_or(heads);

    let mut files = Shards {
        out,
        all: layers + 1,
        written: 0,
        of_weight: BTreeMap::new(),
    };
    let mut ends = vec![("embed_tokens".into(), vocab, width)];
    if config["tie_word_embeddings"] != json!(true) {
        ends.push(("lm_head".into(), vocab, width));
    }
    files.write(&ends, &["norm".into()], width)?;
    for layer in 0..layers {
        let weights = [
            ("self_attn.q_proj", head * heads, width),
            ("self_attn.k_proj", keys, width),
            ("self_attn.v_proj", keys, width),
            ("self_attn.o_proj", width, head * heads),
            ("mlp.gate_proj", ffn, width),
            ("mlp.up_proj", ffn, width),
            ("mlp.down_proj", width, ffn),
        ];
        let named = |name: &str| format!("layers.{layer}.{name}");
        let weights = weights.map(|(name, rows, columns)| (named(name), rows, columns));
        let norms = ["input_layernorm", "post_attention_layernorm"].map(named);
        files.write(&weights, &norms, width)?;
    }
    let index = json!({ "metadata": {}, "weight_map": files.of_weight });
    std::fs::write(out.join("model.safetensors.index.json"), index.to_string())?;
    Ok(())
}

/// The files of the weights.
struct Shards<'a> {
    out: &'a Path,
    all: usize,
    written: usize,
    /// Name of the weight -> name of the file
    of_weight: BTreeMap<String, String>,
}

impl Shards<'_> {
    /// Writes the next file. Only its weights are in memory.
    fn write(
        &mut self,
        weights: &[(String, usize, usize)],
        norms: &[String],
        width: usize,
    ) -> Result<()> {
        let mut tensors = HashMap::new();
        let full = |name: &str| match name {
            "lm_head" => "lm_head.weight".to_string(),
            _ => format!("model.{name}.weight"),
        };
        for (name, rows, columns) in weights {
            let weight = Tensor::randn(0f32, 0.02, (*rows, *columns), &Device::Cpu)?;
            tensors.insert(full(name), weight.to_dtype(DType::BF16)?);
        }
        for name in norms {
            tensors.insert(full(name), Tensor::ones(width, DType::BF16, &Device::Cpu)?);
        }
        self.written += 1;
        let file = format!("model-{:05}-of-{:05}.safetensors", self.written, self.all);
        candle_core::safetensors::save(&tensors, self.out.join(&file))?;
        let names = tensors.into_keys().map(|name| (name, file.clone()));
        self.of_weight.extend(names);
        Ok(())
    }
}

fn read_json(file: &Path) -> Result<Value> {
    let named = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(named)?;
    serde_json::from_str(&text).map_err(|e| anyhow!("{}: {e}", named()))
}
