//! A chat template that prints the date: the date is frozen when a run begins, and all that comes
//! from the run has it.

use super::world::World;
use candle_core::Device;
use data::Template;
use models::Fetch;
use policy::{Policy, PolicyMeta, TemplateChoice};
use serde_json::{Value, json};
use std::fs;

const SOURCE: &str = "{{ strftime_now('%y-%m-%d') }}{% for m in messages %}|{{ m.content }}\
    {{ eos_token if m.role == 'assistant' else '' }}{% endfor %}\
    {% if add_generation_prompt %}|{% endif %}";

/// A world whose base prints the date.
fn world() -> World {
    let world = World::new();
    fs::write(world.path("base/chat_template.jinja"), SOURCE).unwrap();
    world
}

fn date_of(world: &World, text: &str) -> String {
    let policy = Policy::open(&world.text(text), TemplateChoice::Auto, &Device::Cpu).unwrap();
    policy.template.date().unwrap().to_string()
}

/// Changes template.json as a run of an older version has it, without hashes.
fn change_template(world: &World, run: &str, change: impl Fn(&mut Value)) {
    let edit = |name: &str, change: &dyn Fn(&mut Value)| {
        let file = world.path(run).join(name);
        let mut value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut value);
        fs::write(&file, value.to_string()).unwrap();
    };
    edit("template.json", &change);
    edit("run.json", &|info| {
        for key in ["files", "sha256"] {
            info.as_object_mut().unwrap().remove(key).unwrap();
        }
    });
}

#[test]
fn a_run_keeps_its_date_and_hands_it_on() {
    let world = world();
    let chat = "model.template=chat";
    let long_ago = format!("{chat} model.template_date=2020-02-03T04:05:06Z");
    world
        .sft("sft", &format!("{long_ago} train.max_steps=2"))
        .unwrap();
    assert_eq!(date_of(&world, "sft"), "2020-02-03T04:05:06Z");
    assert_eq!(world.info("sft")["template_date"], "2020-02-03T04:05:06Z");

    // the stages after it, and a resumed run
    world.reward("rm", "train.max_steps=2").unwrap();
    assert_eq!(world.info("rm")["template_date"], "2020-02-03T04:05:06Z");
    world.rl("rl", "algorithm.name=rloo train.steps=1").unwrap();
    assert_eq!(world.info("rl")["template_date"], "2020-02-03T04:05:06Z");
    world
        .sft("sft", &format!("{long_ago} train.max_steps=4 resume"))
        .unwrap();
    assert_eq!(date_of(&world, "sft"), "2020-02-03T04:05:06Z");
    let error = world.sft(
        "sft",
        &format!("{chat} model.template_date=2021-01-01 resume"),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("model.template_date was"), "{error}");

    // without a setting the run's own date counts
    world
        .sft("now", &format!("{chat} train.max_steps=2"))
        .unwrap();
    change_template(&world, "now", |template| {
        template["date"] = "2019-09-09T09:09:09Z".into();
    });
    world
        .sft("now", &format!("{chat} train.max_steps=4 resume"))
        .unwrap();
    assert_eq!(date_of(&world, "now"), "2019-09-09T09:09:09Z");
}

#[test]
fn a_run_from_before_dates_were_frozen_has_the_date_of_its_start() {
    let world = world();
    world
        .sft("sft", "model.template=chat train.max_steps=2")
        .unwrap();
    change_template(&world, "sft", |template| {
        template.as_object_mut().unwrap().remove("date").unwrap();
    });
    let started = world.info("sft")["started"].as_str().unwrap().to_string();
    assert_eq!(date_of(&world, "sft"), started);
}

#[test]
fn dates_are_checked_and_the_given_one_is_used() {
    let world = world();
    let open = |date: Option<&str>| {
        let (source, chat) = (world.text("base"), TemplateChoice::Chat);
        PolicyMeta::open(source.as_str().into(), chat, None, Fetch::Shape)?.at(date, None)
    };
    let meta = open(Some("2020-02-03")).unwrap();
    assert_eq!(meta.template.date(), Some("2020-02-03"));
    let question = data::Prompt::new(data::Ask::instruction("a"), None);
    let text = meta
        .encoder
        .decode(&meta.encoder.prompt(&question).unwrap())
        .unwrap();
    assert!(text.starts_with("20-02-03|a|"), "{text}");
    let error = open(Some("today")).err().unwrap().to_string();
    assert!(
        error.starts_with("model.template_date \"today\" is not a date"),
        "{error}"
    );
    let error = world
        .sft("x", "model.template_date=today")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("model.template_date \"today\" is not a date"),
        "{error}"
    );
    // a template without a date has none, and templates that differ in it alone are the same
    let plain = Template::Raw.at("2020-02-03");
    assert_eq!(plain, Template::Raw);
    let of = |date: &str| meta.template.clone().at(date);
    assert_ne!(of("2020-02-03"), of("2020-02-04"));
    assert!(policy::same_but_date(&of("2020-02-03"), &of("2020-02-04")));
    let json = json!({"kind": "chat", "source": "x", "bos": "", "eos": ""});
    let old: Template = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(old).unwrap(), json);
}
