//! Which matrices an adapter changes: names, ends of paths and regular expressions, and the ranks
//! and alphas of some.

use super::{copy, edit_json, says, tiny};
use models::Lora;
use serde_json::{Value, json};

/// Each form names the same matrices as in PEFT.
#[test]
fn targets_are_names_ends_of_paths_or_an_expression() {
    let model = tiny("tied").model;
    let keys = |targets: Value| {
        let config: models::LoraConfig =
            serde_json::from_value(json!({"r": 1, "targets": targets})).unwrap();
        let lora = Lora::init(&config, &model, 0).unwrap();
        let keys = lora.tensors().into_iter().map(|(key, _)| key);
        let keys = keys.filter(|key| key.contains("lora_A"));
        let path = |key: String| key["base_model.model.model.layers.".len()..].to_string();
        keys.map(|key| path(key).replace(".lora_A.weight", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(json!("q_proj")),
        ["0.self_attn.q_proj", "1.self_attn.q_proj"]
    );
    assert_eq!(keys(json!(["layers.1.mlp.up_proj"])), ["1.mlp.up_proj"]);
    assert_eq!(
        keys(json!(["mlp.up_proj", "0.self_attn.v_proj"])),
        ["0.self_attn.v_proj", "0.mlp.up_proj", "1.mlp.up_proj"]
    );
    assert_eq!(keys(json!("all-linear")).len(), 2 * 7);
    assert_eq!(
        keys(json!(r".*\.0\..*(q|k)_proj")),
        ["0.self_attn.q_proj", "0.self_attn.k_proj"]
    );
    assert_eq!(keys(json!(r"(?!.*mlp).*\.1\..*[qv]_proj")).len(), 2);
}

#[test]
fn bad_patterns_are_refused() {
    let model = tiny("tied").model;
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "alpha_pattern",
            json!({"q_proj": 0}),
            &["alpha_pattern", "= 0 is not"],
        ),
        (
            "lora_alpha",
            json!(0),
            &["lora_alpha = 0 is not a number other than 0"],
        ),
        (
            "rank_pattern",
            json!({"q_proj": "two"}),
            &["rank_pattern", "\"two\""],
        ),
        (
            "rank_pattern",
            json!({"q_proj": 0}),
            &["adapter_config.json", "rank_pattern = 0"],
        ),
        (
            "rank_pattern",
            json!([2]),
            &["rank_pattern = [2] is not a map"],
        ),
        (
            "rank_pattern",
            json!({"q_(proj": 4}),
            &["rank_pattern", "not a regular expression"],
        ),
        (
            "alpha_pattern",
            json!({"q_proj": 2, "layers.0.self_attn.q_proj": 3}),
            &[
                "alpha_pattern",
                "both match model.layers.0.self_attn.q_proj",
            ],
        ),
        (
            "target_modules",
            json!(".*q"),
            &["target_modules", "matches no matrix"],
        ),
        (
            "target_modules",
            json!(".*(q_proj"),
            &["target_modules", "not a regular expression"],
        ),
        ("target_modules", json!(3), &["target_modules = 3"]),
    ];
    for (key, value, parts) in cases {
        let dir = copy("adapter");
        edit_json(&dir.path().join("adapter_config.json"), |v| {
            v[*key] = value.clone();
        });
        says(Lora::load(dir.path(), &model), parts);
    }
}

#[test]
fn expressions_that_python_reads_otherwise_are_refused() {
    let model = tiny("tied").model;
    for (targets, part) in [
        (".*q_proj)|(?:.*v_proj", "not a regular expression"),
        (".*[a-z&&[^q]]_proj", "reads && otherwise"),
        (r".*[q-v--k]_proj", "reads -- otherwise"),
        (r".*\p{L}_proj", "reads \\p otherwise"),
        (r".*1\.self_attn", "also matches model.layers.1.self_attn;"),
        (".*", "also matches model;"),
        (r"model\.layers\.\d.*", "also matches model.layers.0;"),
    ] {
        let dir = copy("adapter");
        edit_json(&dir.path().join("adapter_config.json"), |v| {
            v["target_modules"] = targets.into();
        });
        says(Lora::load(dir.path(), &model), &["target_modules", part]);
    }
    // an expression that would search for hours
    let slow = json!(r"(?=((\w|\.)+)+$)(\w+\.?)+\1!");
    let dir = copy("adapter");
    edit_json(&dir.path().join("adapter_config.json"), |v| {
        v["target_modules"] = slow;
    });
    says(
        Lora::load(dir.path(), &model),
        &["target_modules", "nested repetitions"],
    );
}
