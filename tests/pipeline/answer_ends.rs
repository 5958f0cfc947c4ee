//! How prompts and the ends of answers reach the stages: what is said, and what is learnt.

use super::bad_input::refused;
use super::world::World;
use crate::common::again_in_a_child;
use serde_json::json;
use std::fs;

/// Twelve pairs, whose answers go through `chosen` and `rejected`.
fn pairs(chosen: impl Fn(&str) -> String, rejected: impl Fn(&str) -> String) -> String {
    let words = "oak hat elm fox dog axe bell cart drum fern goat horn";
    let row = |word: &str| {
        let row = json!({
            "prompt": format!("Copy this list: {word}."),
            "chosen": chosen(&format!("The word is {word}.")),
            "rejected": rejected(&format!("Not {word}.")),
        });
        format!("{row}\n")
    };
    words.split(' ').map(row).collect()
}

fn demonstrations(answer: impl Fn(&str) -> String) -> String {
    let words = "oak hat elm fox dog axe bell cart drum fern goat horn";
    let row = |word: &str| {
        let prompt = format!("Copy this list: {word}.");
        let row = json!({ "prompt": prompt, "completion": answer(word) });
        format!("{row}\n")
    };
    words.split(' ').map(row).collect()
}

/// A reward model cannot tell the answers by a mark, and no stage learns it.
#[test]
fn an_end_token_in_the_data_changes_nothing() {
    let world = World::with_reward();
    let (plain, marked) = (
        |text: &str| text.to_string(),
        |text: &str| format!("{text}</s>"),
    );
    world.write("plain.jsonl", &pairs(plain, plain));
    world.write("marked.jsonl", &pairs(marked, plain));
    let dpo = |run: &str, sets: &str| world.rl_by(run, &format!("algorithm.name=dpo {sets}"));
    for name in ["plain", "marked"] {
        let sets = format!("data.held_out=0.3 data.path=~/{name}.jsonl");
        world.reward(&format!("rm-{name}"), &sets).unwrap();
        dpo(&format!("dpo-{name}"), &sets).unwrap();
    }
    assert_eq!(world.metrics("rm-plain"), world.metrics("rm-marked"));
    assert_eq!(world.metrics("dpo-plain"), world.metrics("dpo-marked"));
    let (plain, marked) = (demonstrations(plain), demonstrations(marked));
    world.write("plain.jsonl", &plain);
    world.write("marked.jsonl", &marked);
    for name in ["plain", "marked"] {
        world
            .sft(&format!("sft-{name}"), &format!("data.path=~/{name}.jsonl"))
            .unwrap();
    }
    assert_eq!(world.metrics("sft-plain"), world.metrics("sft-marked"));
}

#[test]
fn rows_that_all_lose_their_end_are_refused() {
    let world = World::with_reward();
    let long = |word: &str| format!("{word} is a word. ").repeat(30);
    world.write("long.jsonl", &demonstrations(long));
    let other = |word: &str| format!("No. {}", long(word));
    world.write("pairs.jsonl", &pairs(long, other));
    let cut = "data.too_long=truncate_response data.held_out=0.3";
    let says = [
        "training rows: truncation takes the end token from all",
        "raise data.max_len, or set data.too_long = \"drop\"",
    ];
    let result = world.sft("out", &format!("{cut} data.path=~/long.jsonl"));
    refused(&world, result, &says);
    let result = world.reward("out", &format!("{cut} data.path=~/pairs.jsonl"));
    refused(&world, result, &says);
}

const SOURCE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}\
                      {% if add_generation_prompt %}assistant: {% endif %}";

#[test]
fn a_default_template_beside_the_models_own_is_said_once() {
    const CHILD: &str = "DEFAULT_TEMPLATE_TEST_CHILD";
    const SETS: [&str; 4] = [
        "model.template=",
        "model.template=alpaca",
        "model.template=chat",
        "model.template= model.source=~/first",
    ];
    if std::env::var_os(CHILD).is_some() {
        let world = World::new();
        fs::write(world.path("base/chat_template.jinja"), SOURCE).unwrap();
        world.sft("first", "train.max_steps=1").unwrap();
        for sets in SETS {
            run::say!("PLAN {sets}");
            world.plan("sft", sets).unwrap();
        }
        run::say!("RUN");
        world
            .sft("out", &format!("{} train.max_steps=1", SETS[0]))
            .unwrap();
        run::say!("RESUME");
        world.sft("out", &format!("{} resume", SETS[0])).unwrap();
        return;
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let said = "the model has a chat template, but prompts are written in Alpaca's format, the \
                default of sft; set model.template = \"chat\"";
    let after = |mark: &str| {
        let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("{text}"));
        rest
    };
    let plans: Vec<&str> = after("PLAN ")
        .split("RUN\n")
        .next()
        .unwrap()
        .split("PLAN ")
        .collect();
    let counts: Vec<usize> = plans
        .iter()
        .map(|plan| plan.matches(said).count())
        .collect();
    assert_eq!(counts, [1, 0, 0, 0], "{text}");
    let (run, resumed) = after("RUN\n").split_once("RESUME\n").unwrap();
    assert_eq!(run.matches(said).count(), 1, "{text}");
    assert_eq!(resumed.matches(said).count(), 0, "{text}");
}
