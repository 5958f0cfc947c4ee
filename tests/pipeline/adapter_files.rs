//! What lies beside an adapter, and what is assumed of its base.

use super::adapters::{edit, error, peft};
use super::world::World;
use crate::common::again_in_a_child;
use candle_core::Device;
use policy::{Policy, TemplateChoice};
use std::fs;

/// Tokenizer and chat template that lie beside an adapter.
#[test]
fn a_chat_template_beside_an_adapter_is_used_and_another_tokenizer_refused() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    peft(&world, "sft", "mine", &world.text("base"));
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}\
                    {% if add_generation_prompt %}assistant: {% endif %}";
    world.write("mine/chat_template.jinja", template);
    let open = || Policy::open(&world.text("mine"), TemplateChoice::Auto, &Device::Cpu);
    let source = |policy: &Policy| match &policy.template {
        data::Template::Chat { source, .. } => source.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(source(&open().unwrap()), template);
    world
        .sft("chat", "model.source=~/mine model.template=chat")
        .unwrap();
    let run = Policy::open(&world.text("chat"), TemplateChoice::Auto, &Device::Cpu).unwrap();
    assert_eq!(source(&run), template);

    // the base's own tokenizer beside it changes nothing
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(world.path("base").join(file), world.path("mine").join(file)).unwrap();
    }
    assert_eq!(source(&open().unwrap()), template);
    let file = world.path("mine/tokenizer.json");
    let whole = fs::read(&file).unwrap();
    edit(&file, |tokenizer| {
        let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        for id in vocab.values_mut() {
            *id = match id.as_u64() {
                Some(20) => 21.into(),
                Some(21) => 20.into(),
                _ => continue,
            };
        }
    });
    let text = error(open());
    assert!(text.contains("mine/tokenizer.json: gives "), "{text}");
    assert!(
        text.contains(
            " the id 20, which is 21 in its base, and an adapter is used with its base's \
             tokenizer; merge it into its base with PEFT"
        ),
        "{text}"
    );
    fs::write(&file, &whole).unwrap();
    edit(&world.path("mine/tokenizer_config.json"), |config| {
        config["eos_token"] = "<s>".into();
    });
    let text = error(open());
    assert!(
        text.contains("ends an answer with <s>, its base with </s>"),
        "{text}"
    );
}

/// An adapter that PEFT made on a Hugging Face model, on the GGUF file of the same model.
#[test]
fn the_base_of_an_adapter_may_be_a_gguf_file() {
    let golden = testkit::golden("families/smollm3");
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine");
    fs::create_dir(&mine).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(golden.join("adapter").join(file), mine.join(file)).unwrap();
    }
    fs::copy(golden.join("model.gguf"), dir.path().join("model.gguf")).unwrap();
    edit(&mine.join("adapter_config.json"), |config| {
        config["base_model_name_or_path"] = "model.gguf".into(); // in the directory above
    });
    let open = Policy::open(mine.to_str().unwrap(), TemplateChoice::Raw, &Device::Cpu);
    let policy = open.unwrap();
    assert!(policy.base.source.ends_with("/model.gguf"));
    let wanted = testkit::golden_tensors("families/smollm3/golden.safetensors");
    let whole = |key: &str| testkit::values(&wanted[key]).into_iter();
    let ids: Vec<u32> = whole("ids").map(|v| v as u32).collect();
    let lens: Vec<usize> = whole("lens").map(|v| v as usize).collect();
    let layout = ops::Ragged::from_lens(&lens);
    let adapter = policy.adapter.as_ref();
    let hidden = policy.model().hidden(&ids, &layout, adapter, None);
    let found = crate::common::plain_logits(policy.model(), &hidden.unwrap());
    testkit::assert_close("logits", &found, &wanted["adapter"], 2e-4);
}

/// What cannot be checked is said, and a name that may be one of the hub is looked for there.
#[test]
fn what_is_assumed_of_a_base_is_said() {
    const CHILD: &str = "ASSUMED_BASE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let world = World::new();
        world.sft("sft", "").unwrap();
        peft(&world, "sft", "mine", "checkpoints/base");
        run::say!("GIVEN");
        world
            .sft("a", "model.source=~/mine model.base=~/base")
            .unwrap();
        run::say!("OURS");
        world
            .sft("b", "model.source=~/sft model.base=~/base")
            .unwrap();
        run::say!("HUB {}", error(world.sft("c", "model.source=~/mine")));
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let output = again_in_a_child([(CHILD, "1"), ("HF_HUB_OFFLINE", "1"), ("HF_HOME", cache)]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, text) = text.split_once("GIVEN\n").unwrap();
    let (given, text) = text.split_once("OURS\n").unwrap();
    let (ours, hub) = text.split_once("HUB ").unwrap();
    assert!(
        given.contains(
            "/base is the model that it was trained on (checkpoints/base) cannot be checked"
        ),
        "{given}"
    );
    assert!(!ours.contains("cannot be checked"), "{ours}");
    let hub = hub.lines().next().unwrap();
    for part in [
        "model checkpoints/base is not in the cache",
        "mine was trained on \"checkpoints/base\", and if that is a directory, there is none at ",
        "mine/checkpoints/base",
        "model.base (--base of the commands that evaluate)",
    ] {
        assert!(hub.contains(part), "{hub}");
    }
}
