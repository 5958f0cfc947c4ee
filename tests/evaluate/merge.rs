//! `wick merge`: the written model gives the adapter's logits, or nothing is written.

use super::world::{World, refused};
use candle_core::Device;
use data::{Ask, Prompt, Template};
use evaluate::{Dtype, MergeConfig, merge};
use models::{Lora, LoraConfig};
use policy::{Policy, TemplateChoice};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn a_merged_model_gives_the_adapters_logits_and_prompts() {
    let world = World::new();
    world.sft("sft", 1);
    let report = merge(&MergeConfig::new(&world.text("sft"), &world.path("merged"))).unwrap();
    assert!(report.change > 0.01 && report.error < 1e-4, "{report:?}");
    // Opened as a plain model, it gets the prompts of the run through the chat template of the
    // merge.
    let run = world.policy(&world.text("sft"));
    let plain = Policy::open(&world.text("merged"), TemplateChoice::Auto, &Device::Cpu).unwrap();
    assert!(matches!(plain.template, Template::Chat { .. }) && plain.adapter.is_none());
    let prompt = |instruction: &str, input: &str| {
        let (instruction, input) = (instruction.into(), input.into());
        Prompt::new(Ask::Instruction { instruction, input }, None)
    };
    let one = prompt("Reverse these words: palm house.", "");
    assert_eq!(
        plain.encoder.prompt(&one).unwrap(),
        run.encoder.prompt(&one).unwrap()
    );
    let with_input = prompt("Reverse these words.", "palm house");
    for row in [&one, &with_input] {
        assert_eq!(
            plain.encoder.example(row, "house palm.").unwrap(),
            run.encoder.example(row, "house palm.").unwrap()
        );
    }
    let turns = ["Hello.", "Hi.", "Again."]
        .iter()
        .zip(["user", "assistant", "user"]);
    let chat = Prompt::new(
        Ask::Chat(
            turns
                .map(|(text, role)| data::Message::new(role, text))
                .collect(),
        ),
        None,
    );
    assert_eq!(
        plain.encoder.prompt(&chat).unwrap(),
        run.encoder.prompt(&chat).unwrap()
    );
    assert_eq!(plain.encoder.ends().eos, run.encoder.ends().eos);

    let ids = run.encoder.prompt(&one).unwrap();
    let layout = ops::Ragged::from_lens(&[ids.len()]);
    let logits = |p: &Policy| {
        let hidden = p
            .model()
            .hidden(&ids, &layout, p.adapter.as_ref(), None)
            .unwrap();
        crate::common::plain_logits(p.model(), &hidden)
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    let (merged, adapted) = (logits(&plain), logits(&run));
    let worst = merged
        .iter()
        .zip(&adapted)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

/// A run whose base has this chat template and begins texts with BOS, merged: the template that is
/// written.
fn merged_template(world: &World, name: &str, source: &str) -> (String, Policy) {
    let file = world.path("base/tokenizer_config.json");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    settings["chat_template"] = source.into();
    std::fs::write(&file, settings.to_string()).unwrap();
    let open = |text: &str| Policy::open(text, TemplateChoice::Chat, &Device::Cpu).unwrap();
    let base = open(&world.text("base"));
    let mut run = run::Run::create(&world.path(name), "sft", &json!({})).unwrap();
    policy::write_identity(&mut run, &base.base, &base.template).unwrap();
    let adapter = world.adapter(base.model(), 1);
    run.replace_dir("adapter", |dir| Ok(adapter.save(dir, &world.text("base"))?))
        .unwrap();
    run.finish(&BTreeMap::new()).unwrap();
    let out = format!("{name}-merged");
    merge(&MergeConfig::new(&world.text(name), &world.path(&out))).unwrap();
    let written = world.path(&out).join("tokenizer_config.json");
    let written: Value = serde_json::from_slice(&std::fs::read(written).unwrap()).unwrap();
    let template = written["chat_template"].as_str().unwrap().to_string();
    (template, open(&world.text(name)))
}

/// transformers renders the template with its generation prompt and adds no BOS to the ids. They
/// are those of the run's prompts, whatever the template leaves to its user.
#[test]
fn the_chat_template_of_a_merged_model_makes_the_runs_prompts() {
    let turns = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}";
    let header = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
    let lines = "{%- for m in messages %}\n  {{- m.role + '\\'s: ' + m.content + eos_token }}\n\
                 {%- endfor %}\n";
    let cases = [
        ("whole", format!("{{{{ bos_token }}}}{turns}{header}"), true),
        ("no-bos", format!("{turns}{header}"), false),
        ("no-header", format!("{{{{ bos_token }}}}{turns}"), false),
        ("neither", turns.to_string(), false),
        ("line-break", lines.to_string(), false),
        ("blank-lines", format!("{turns}\n\n"), false),
    ];
    let ask = |turns: &[(&str, &str)]| {
        let turns = turns
            .iter()
            .map(|(role, text)| data::Message::new(role, text));
        Prompt::new(Ask::Chat(turns.collect()), None)
    };
    let asks = [
        ask(&[("user", "Copy this list: palm house.")]),
        ask(&[("user", "Hello."), ("assistant", "Hi."), ("user", "Again.")]),
    ];
    let world = World::new();
    for (name, source, is_kept) in cases {
        let (written, run) = merged_template(&world, name, &source);
        assert_eq!(written == source, is_kept, "{name}: {written}");
        let mut template = run.template.clone();
        if let Template::Chat { source, .. } = &mut template {
            *source = written.clone();
        }
        let merged = world.text(&format!("{name}-merged"));
        let plain = Policy::open(&merged, TemplateChoice::Auto, &Device::Cpu).unwrap();
        for prompt in &asks {
            let text = template.render(&prompt.ask).unwrap();
            assert_eq!(text.matches("<s>").count(), 1, "{name}: {text}");
            let ids = run.base.tokenizer.encode(text, false).unwrap();
            let expected = run.encoder.prompt(prompt).unwrap();
            assert_eq!(ids.get_ids(), expected, "{name}: {written}");
            assert_eq!(
                plain.encoder.example(prompt, "house palm.").unwrap(),
                run.encoder.example(prompt, "house palm.").unwrap(),
                "{name}: {written}"
            );
        }
    }
}

#[test]
fn bf16_halves_the_file_and_stays_within_tolerance() {
    let world = World::new();
    world.sft("sft", 1);
    let config = MergeConfig::new(&world.text("sft"), &world.path("f32"));
    merge(&config).unwrap();
    let narrow = MergeConfig {
        dtype: Dtype::Bf16,
        out: world.path("bf16"),
        ..config.clone()
    };
    let report = merge(&narrow).unwrap();
    assert!(
        report.error > 0.0 && report.error < 0.05 * report.largest.max(1.0),
        "{report:?}"
    );
    let size = |name: &str| {
        std::fs::metadata(world.path(name).join("model.safetensors"))
            .unwrap()
            .len() as f64
    };
    assert!((size("bf16") / size("f32") - 0.5).abs() < 0.05);
    let config: Value =
        serde_json::from_slice(&std::fs::read(world.path("bf16/config.json")).unwrap()).unwrap();
    assert_eq!(config["dtype"], "bfloat16");
}

#[test]
fn bad_input_of_merge_leaves_nothing_behind() {
    let world = World::new();
    world.sft("sft", 1);
    let mut run = world.run("idle", "sft", &[]);
    let base = world.policy(&world.text("base"));
    let idle = Lora::init(&LoraConfig::default(), base.model(), 1).unwrap();
    run.replace_dir("adapter", |dir| Ok(idle.save(dir, &world.text("base"))?))
        .unwrap();
    run.finish(&BTreeMap::new()).unwrap();
    let config = |run: &str, out: &str| MergeConfig::new(&world.text(run), &world.path(out));
    refused(merge(&config("idle", "out")), "changes nothing");
    refused(merge(&config("base", "out")), "has no adapter");
    // so large that rounding decides where attention looks
    let mut run = world.run("huge", "sft", &[]);
    let huge = world.adapter(base.model(), 1).trainable().unwrap();
    for (_, var) in huge.vars() {
        var.set(&(var.as_detached_tensor() * 1e3).unwrap()).unwrap();
    }
    run.replace_dir("adapter", |dir| Ok(huge.save(dir, &world.text("base"))?))
        .unwrap();
    run.finish(&BTreeMap::new()).unwrap();
    refused(
        merge(&MergeConfig {
            dtype: Dtype::Bf16,
            ..config("huge", "out")
        }),
        "the merged model's logits differ from the adapter's by",
    );
    refused(
        merge(&config("sft", "base")),
        "exists; choose another --out",
    );
    refused(merge(&config("sft", "no/out")), "does not exist");
    let left: Vec<_> = std::fs::read_dir(world.dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| ["base", "sft", "idle", "huge"].contains(&name.to_str().unwrap())),
        "{left:?}"
    );
}

/// The smaller the adapter, the more of its change is lost by rounding.
#[test]
fn what_rounding_loses_of_the_adapter_is_measured_and_bounded() {
    let world = World::new();
    let base = world.policy(&world.text("base"));
    let merged = |scale: f64, dtype: Dtype| {
        let name = format!("sft-{scale}");
        if !world.path(&name).exists() {
            let mut run = world.run(&name, "sft", &[]);
            let adapter = world.adapter(base.model(), 1).trainable().unwrap();
            for (name, var) in adapter.vars() {
                if name.contains("lora_B") {
                    let small = (var.as_detached_tensor() * scale).unwrap();
                    var.set(&small).unwrap();
                }
            }
            run.replace_dir("adapter", |dir| Ok(adapter.save(dir, &world.text("base"))?))
                .unwrap();
            run.finish(&BTreeMap::new()).unwrap();
        }
        let out = format!("{name}-{dtype:?}");
        merge(&MergeConfig {
            dtype,
            ..MergeConfig::new(&world.text(&name), &world.path(&out))
        })
    };
    // The base itself is in f32, so that rounding it counts, too.
    let lost = |scale| merged(scale, Dtype::Bf16).unwrap().lost;
    assert!(lost(1.0) < 0.1, "{}", lost(1.0));
    let some = merged(0.005, Dtype::Bf16).unwrap();
    assert!((0.1..1.0).contains(&some.lost), "{some:?}");
    assert!(some.lost > some.error / some.change / 4.0, "{some:?}");
    let error = run::one_line(&merged(1e-4, Dtype::Bf16).unwrap_err());
    assert!(
        error.starts_with("rounding to bf16 moves the logits by ")
            && error.ends_with("use --dtype f32; nothing was written"),
        "{error}"
    );
    assert!(!world.path("sft-0.0001-Bf16").exists());
    let kept = merged(1e-4, Dtype::F32).unwrap();
    assert!(kept.lost < 0.1, "{kept:?}");
    // The change is printed with its digits, however small it is.
    let text = kept.to_string();
    assert!(
        text.contains(&format!("by up to {:.1e};", kept.change)),
        "{text}"
    );
}
