//! Every reader of foreign bytes behind one signature. `Err` holds the user's error message, which
//! must be one line. Files are in memory (`/dev/shm`) where the system has it.

use data::{Ask, Format, Message, Template};
use models::{CausalLm, Lora, LoraConfig, ModelSource};
use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A reader: bytes of a file in, `Ok` or the error message out.
pub type Target = fn(&[u8]) -> Result<(), String>;

/// The readers, named as in `fuzz_targets/` and `corpus/`.
pub const TARGETS: [(&str, Target); 14] = [
    ("safetensors", safetensors),
    ("gguf", gguf),
    ("adapter_config", adapter_config),
    ("model_config", model_config),
    ("tokenizer", tokenizer),
    ("special_tokens", special_tokens),
    ("chat_template", chat_template),
    ("dataset", dataset),
    ("container", container),
    ("fastchat", fastchat),
    ("judge", judge),
    ("settings", settings),
    ("reward_reply", reward_reply),
    ("metrics", metrics),
];

/// A tiny model and the directory in which targets write their files.
struct World {
    dir: TempDir,
    model: CausalLm,
}

const MODEL: &str = r#"{"model_type": "llama", "hidden_act": "silu", "vocab_size": 64, "hidden_size": 4,
    "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "bos_token_id": 1, "eos_token_id": 2}"#;
const TOKENIZER: &str = r#"{"model": {"type": "BPE", "vocab": {"<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5},
    "merges": [["a", "b"]]}, "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": null, "version": "1.0", "truncation": null, "padding": null}"#;

impl World {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => TempDir::new_in(memory),
            false => TempDir::new(),
        };
        let dir = dir.expect("a place for a few small files");
        let config = serde_json::from_str(MODEL).expect("JSON");
        let config = models::Config::from_json(&config).expect("a model");
        let model = CausalLm::init(&config, 0, &candle_core::Device::Cpu);
        let world = Self {
            dir,
            model: model.expect("a model"),
        };
        let model_dir = world.path("model");
        std::fs::create_dir(&model_dir).expect("a directory");
        world.write("model/config.json", MODEL.as_bytes());
        world.write("model/tokenizer.json", TOKENIZER.as_bytes());
        for name in ["adapter", "weights"] {
            std::fs::create_dir(world.path(name)).expect("a directory");
            let lora = LoraConfig {
                r: 1,
                alpha: 1.0,
                dropout: 0.0,
                targets: models::LoraTargets::names(["q_proj"]),
                ..LoraConfig::default()
            };
            Lora::init(&lora, &world.model, 0)
                .and_then(|lora| lora.save(&world.path(name), "base"))
                .expect("an adapter");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a small file can be written");
        path
    }
}

thread_local! {
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

fn with_world<T>(run: impl FnOnce(&World) -> T) -> T {
    WORLD.with(|world| run(world.get_or_init(World::new)))
}

/// The error as the binaries print it.
fn printed<T>(result: Result<T, impl Into<anyhow::Error>>) -> Result<(), String> {
    result.map(drop).map_err(|e| run::one_line(&e.into()))
}

/// Header and tensors of a safetensors file, as an adapter's weights.
fn safetensors(bytes: &[u8]) -> Result<(), String> {
    with_world(|w| {
        w.write("weights/adapter_model.safetensors", bytes);
        printed(Lora::load(&w.path("weights"), &w.model))
    })
}

fn gguf(bytes: &[u8]) -> Result<(), String> {
    with_world(|w| {
        let path = w.write("model.gguf", bytes);
        printed(models::load(
            &ModelSource::Gguf(path),
            &candle_core::Device::Cpu,
        ))
    })
}

/// PEFT's `adapter_config.json`.
fn adapter_config(bytes: &[u8]) -> Result<(), String> {
    with_world(|w| {
        w.write("adapter/adapter_config.json", bytes);
        printed(Lora::load(&w.path("adapter"), &w.model))
    })
}

/// `config.json` of a model, and its round trip through `to_json`.
fn model_config(bytes: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let config = models::Config::from_json(&value)?;
    match models::Config::from_json(&config.to_json())? == config {
        true => Ok(()),
        false => panic!("to_json gives another config: {config:?}"),
    }
}

/// `tokenizer.json`, then a text encoded and decoded with it.
fn tokenizer(bytes: &[u8]) -> Result<(), String> {
    with_world(|w| {
        w.write("model/tokenizer.json", bytes);
        std::fs::remove_file(w.path("model/tokenizer_config.json")).ok();
        let read = models::read_hf_directory(&w.path("model")).map_err(|e| e.to_string())?;
        let tokenizer = read.tokenizer;
        let ids = tokenizer.encode("ab b\u{e9}\n", true);
        let ids = ids.map_err(|e| e.to_string())?;
        printed(
            tokenizer
                .decode(ids.get_ids(), false)
                .map_err(anyhow::Error::msg),
        )
    })
}

/// `tokenizer_config.json`: special tokens, chat template.
fn special_tokens(bytes: &[u8]) -> Result<(), String> {
    with_world(|w| {
        w.write("model/tokenizer.json", TOKENIZER.as_bytes());
        w.write("model/tokenizer_config.json", bytes);
        printed(models::read_hf_directory(&w.path("model")))
    })
}

/// A Jinja chat template, over two turns.
fn chat_template(bytes: &[u8]) -> Result<(), String> {
    let template = Template::Chat {
        source: String::from_utf8_lossy(bytes).into_owned(),
        bos: "<s>".into(),
        eos: "</s>".into(),
        date: None,
    };
    let turns = ["system", "user"].map(|role| Message::new(role, "Say \"ab\"."));
    printed(template.render(&Ask::Chat(turns.into())))
}

/// The first byte chooses format, extension and kind of record; the rest is the file.
fn dataset(bytes: &[u8]) -> Result<(), String> {
    const FORMATS: [Format; 19] = [
        Format::Auto,
        Format::Alpaca,
        Format::PromptCompletion,
        Format::Chat,
        Format::Text,
        Format::ComparisonV1,
        Format::ComparisonV2,
        Format::Hh,
        Format::Pairs,
        Format::Fastchat,
        Format::QuestionAnswer,
        Format::Transcript,
        Format::Kto,
        Format::Ultrafeedback,
        Format::OpenaiPreference,
        Format::Ranked,
        Format::SafeRlhf,
        Format::Shp,
        Format::Arena,
    ];
    let Some((&choice, file)) = bytes.split_first() else {
        return Ok(());
    };
    let choice = usize::from(choice);
    let name = ["d.json", "d.txt"][choice / 30 % 2];
    // the corpus knows the first ten
    let format = FORMATS[(choice / 60 * 10 + choice / 3 % 10) % FORMATS.len()];
    with_world(|w| {
        let path = w.write(name, file);
        match choice % 3 {
            0 => printed(data::demonstrations(&path, format)),
            1 => printed(data::preferences(&path, format)),
            _ => printed(data::prompts(&path, format)),
        }
    })
}

/// The first byte chooses the extension; what else the file is, its bytes say: JSON, CSV, parquet,
/// gzip, zstd.
fn container(bytes: &[u8]) -> Result<(), String> {
    let Some((&choice, file)) = bytes.split_first() else {
        return Ok(());
    };
    let name = ["c.json", "c.txt", "c.csv", "c.tsv"][usize::from(choice) % 4];
    with_world(|w| {
        let path = w.write(name, file);
        let whole = row_files::for_each_row(&path, &[], &mut |_, _| {
            Ok::<_, row_files::Error>(ControlFlow::Continue(()))
        });
        if let Ok(whole) = &whole {
            assert_eq!(whole.n_bytes, file.len() as u64, "it was read to its end");
        }
        printed(whole)
    })
}

/// FastChat's question and answer files.
fn fastchat(bytes: &[u8]) -> Result<(), String> {
    use evaluate::fastchat::{answers, questions};
    with_world(|w| {
        let path = w.write("questions.jsonl", bytes);
        printed(answers(&path)).or_else(|_| printed(questions(&path)))
    })
}

/// A judge's reply.
fn judge(bytes: &[u8]) -> Result<(), String> {
    let reply = String::from_utf8_lossy(bytes);
    if let Some(rating) = evaluate::judge::rating(&reply) {
        assert!((1.0..=10.0).contains(&rating), "rating {rating}");
    }
    evaluate::judge::better(&reply);
    Ok(())
}

/// A run's settings for each of the three stages: the first line is a `--set`, the rest is the
/// file.
fn settings(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let (set, file) = text.split_once('\n').unwrap_or(("", &text));
    let sets: Vec<String> = Some(set.to_string())
        .filter(|s| !s.is_empty())
        .into_iter()
        .collect();
    with_world(|w| {
        let path = w.write("settings.toml", file.as_bytes());
        let sft = run::load_config::<sft::Config>(Some(&path), &sets).and_then(|c| c.check());
        let rm =
            run::load_config::<reward_model::Config>(Some(&path), &sets).and_then(|c| c.check());
        let rl = run::load_config::<esrl_rlhf::Config>(Some(&path), &sets).and_then(|c| c.check());
        let results = [sft, rm, rl].map(printed);
        let [first, ..] = &results;
        match results.iter().any(Result::is_ok) {
            true => Ok(()),
            false => first.clone(),
        }
    })
}

/// An external reward source's reply to two items.
fn reward_reply(bytes: &[u8]) -> Result<(), String> {
    let scores = rewards::external::read_reply(bytes, 0)
        .and_then(|reply| rewards::external::scores_of(&reply, 2))?;
    assert!(scores.len() == 2 && scores.iter().all(|s| s.is_finite()));
    Ok(())
}

/// A run's metrics.jsonl, and its TensorBoard events truncated to a step.
fn metrics(bytes: &[u8]) -> Result<(), String> {
    let kept = run::events_up_to(bytes, Some(3));
    assert!(kept.len() <= bytes.len());
    assert!(run::events_up_to(&kept, Some(3)) == kept, "truncated twice");
    with_world(|w| {
        w.write("metrics.jsonl", bytes);
        printed(run::read_metrics(w.dir.path()))
    })
}
