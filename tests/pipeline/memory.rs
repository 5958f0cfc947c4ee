//! Memory: what is counted, how many layers are checkpointed for it, and that this changes no
//! result.

use super::bad_input::refused;
use super::same::assert_same;
use super::world::{World, tiny};
use crate::common::tiny_config;
use models::{Activations, Config, Fetch, LoraConfig, WeightsMeta};
use planning::{Estimate, Forward, Forwards, Graph, Sampling, Workload};
use policy::{DeviceChoice, PolicyMeta, TemplateChoice};
use serde_json::json;
use std::path::Path;

/// A run on a base of this shape whose largest forward has so many tokens.
pub fn work(shape: &Config, tokens: usize) -> Workload {
    let base = PolicyMeta::open(
        tiny("base").as_str().into(),
        TemplateChoice::Alpaca,
        None,
        Fetch::Shape,
    )
    .unwrap();
    let none = Workload::new(&base, &WeightsMeta::default(), "cpu", Path::new("none")).unwrap();
    Workload {
        shape: shape.clone(),
        sampling_weights: 4_000_000,
        graphs: vec![graph(LoraConfig::default())],
        frozen_numbers: 500,
        forwards: Forwards {
            largest: Forward { tokens, pairs: 0 },
            longest_unit: 100,
            ..Forwards::default()
        },
        rows_key: "rollout.max_rows",
        ..none
    }
}

fn graph(lora: LoraConfig) -> Graph {
    Graph {
        name: "policy",
        lora: Some(lora),
        head: 0,
    }
}

#[test]
fn activations_are_the_tensors_of_a_layer() {
    // d 24, q 24, k and v 8 each, feed-forward 40
    let config = tiny_config(json!({}));
    let plain = Activations::on_cpu(&config, None);
    assert_eq!(plain.layer, 6 * 24 + 3 * 24 + 3 * 8 + 3 * 40);
    assert_eq!(plain.checkpointed_layer, 24);
    let mut lora = LoraConfig {
        r: 4,
        targets: models::LoraTargets::names(["v_proj", "down_proj"]),
        ..LoraConfig::default()
    };
    assert_eq!(lora.n_params(&config), 2 * 4 * ((24 + 8) + (40 + 24)));
    let adapted = Activations::on_cpu(&config, Some(&lora));
    // o is frozen, so its output is the sum itself
    assert_eq!(adapted.layer, plain.layer - 24 + 2 * 4);
    lora.dropout = 0.1;
    let dropped = Activations::on_cpu(&config, Some(&lora));
    assert_eq!(dropped.layer, adapted.layer + 2 * (24 + 8 + 40 + 24));

    assert_eq!(plain.layer_pairs, 0);

    // on a GPU in f32, attention by candle's own operations: q 24 in 3 heads that share one of
    // keys, k and v 8
    let own = Activations::on_gpu(&config, None);
    assert_eq!(own.layer, plain.layer + (2 + 2 + 3) * 24 + 2 * 8);
    assert_eq!(
        (own.layer_pairs, own.gradient_pairs, own.bytes_per_number),
        (8 * 3, 5 * 3, 4)
    );
    // on a frozen base in bf16, by kernels for heads of 16
    let config = tiny_config(json!({ "hidden_size": 48 }));
    let fused = Activations::on_cpu(&config, Some(&lora));
    let gpu = Activations::on_gpu(&config, Some(&lora));
    assert_eq!(gpu.layer, fused.layer - (48 + 40) + 2 * 3);
    assert_eq!(gpu.gradients, fused.gradients + 2 * 3);
    assert_eq!((gpu.layer_pairs, gpu.bytes_per_number), (0, 2));
}

/// Norms of heads and their inputs; a fused matrix, whose low-rank products are computed for each
/// part; other ranks in some layers.
#[test]
fn activations_count_what_a_family_adds() {
    let config = |name: &str| {
        let file = testkit::golden(&format!("families/{name}/config.json"));
        models::Config::read(&file).unwrap()
    };
    // d 16, 4 heads of 8, 2 of keys, feed-forward 24; biases on q, k, v, o
    let (d, q, k, f) = (16, 32, 16, 24);
    let layer = Activations::on_cpu(&config("qwen3"), None).layer;
    let biases = q + 2 * k + d;
    assert_eq!(
        layer,
        4 * d + 3 * q + 3 * k + 3 * f + biases + (q + k) + 2 * d
    );

    // d 16, q 16, k 8
    let (q, k) = (16, 8);
    let phi = config("phi3");
    let mut lora = LoraConfig {
        r: 2,
        targets: models::LoraTargets::names(["qkv_proj", "o_proj"]),
        rank_pattern: [("layers.1.self_attn.o_proj".to_string(), 5)].into(),
        ..LoraConfig::default()
    };
    let qkv = d + q + 2 * k;
    assert_eq!(lora.n_params(&phi), 2 * (2 * qkv) + (2 + 5) * (d + q));
    assert_eq!(lora.n_tensors(&phi), 2 * 4);
    let adapted = Activations::on_cpu(&phi, Some(&lora));
    let plain = 4 * d + 3 * q + 3 * k + 3 * f;
    assert_eq!(adapted.layer, plain + d + 3 * 2 + 5);
    lora.dropout = 0.1;
    let dropped = Activations::on_cpu(&phi, Some(&lora));
    let added = 2 * 3 * d + 2 * (q + 2 * k) + 2 * q + 2 * d;
    assert_eq!(dropped.layer, adapted.layer + added);
}

/// By hand, from the sizes of the model: d 24, feed-forward 40, vocabulary 61, 8 numbers in a row
/// of keys.
#[test]
fn every_phase_is_counted() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let mut full = work(&config, 1000);
    full.forwards.largest.pairs = 70_000;
    full.scoring.micro_batched = 500;
    // less than other sampling, which happens before or after it
    let less = Sampling::of(vec![10, 9], 8, 12, 8);
    let sampling = Sampling {
        prompts: vec![20, 10],
        rows: 9,
        max_new_tokens: 12,
        kept_states: 100,
    };
    full.sampling = vec![less, sampling];
    let e = Estimate::of(&full, 2);
    let each = Activations::on_cpu(&config, full.graphs[0].lora.as_ref());
    assert_eq!(e.weights, 0.06e9 + 4e6);
    let scoring = |tokens: f64| 1.02 * 4.0 * tokens * (3.0 * 40.0 + 5.0 * 24.0);
    assert_eq!(e.scoring, scoring(500.0));
    // the cache has rows in units of 16
    let cache = |answers: usize| (2 * 6 * 8 * (32 + 16 + answers * 16)) as f64;
    let states = 1.5 * (24 * 100) as f64;
    assert_eq!(
        e.sampling,
        4.0 * (1.125 * cache(9) + states) + scoring(30.0)
    );
    full.sampling[1].rows = 400;
    let logits = 4.0 * (3 * 400 * 61) as f64;
    assert_eq!(
        Estimate::of(&full, 2).sampling,
        4.0 * (1.125 * cache(400) + states) + logits
    );
    full.scoring.whole = 700;
    assert_eq!(Estimate::of(&full, 2).scoring, scoring(700.0));
    let threads = std::thread::available_parallelism().unwrap().get();
    let token = 5 * each.layer + 2 * each.checkpointed_layer + each.gradients + 24 * (5 + threads);
    // two checkpointed layers of six keep a copy of their adapters
    let adapters = 4.0 * (full.parameters() * 2) as f64 / 6.0;
    assert_eq!(
        e.activations(),
        1.02 * 4.0 * (1000 * token) as f64 + adapters
    );
    assert_eq!(e.total(), e.weights + e.adapters + e.activations());

    // on a GPU in f32, since no kernel has heads of 8: attention holds four scores of each pair and
    // head, of 3 heads; and the logits of two models are compared
    full.device = DeviceChoice::Cuda(0);
    full.scoring.longest = 90;
    let gpu = |tokens: f64, longest: f64| {
        1.1 * 4.0 * (tokens * (3.0 * 40.0 + 5.0 * 24.0) + longest * longest * 12.0)
    };
    let e = Estimate::of(&full, 2);
    assert_eq!(e.scoring, gpu(700.0, 90.0) + 8.0 * 16.8e6);
    full.sampling[1].rows = 9;
    let e = Estimate::of(&full, 2);
    assert_eq!(e.sampling, 4.0 * cache(9) + gpu(30.0, 20.0));
    let each = Activations::on_gpu(&config, full.graphs[0].lora.as_ref());
    assert_eq!(e.weights, 0.7e9 + 4e6);
    let token = 5 * each.layer + 2 * each.checkpointed_layer + each.gradients + 24 * 6;
    let pair = 5 * each.layer_pairs + each.gradient_pairs;
    let numbers = 1000 * token + 70_000 * pair;
    assert_eq!(
        e.activations(),
        1.1 * 4.0 * numbers as f64 + 6.0 * 16.8e6 + adapters
    );
}

#[test]
fn each_checkpointed_layer_saves_its_activations() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let lora = LoraConfig::default();
    let each = Activations::on_cpu(&config, Some(&lora));
    let at = |layers| Estimate::of(&work(&config, 1000), layers);
    // two gradients and two moments of each trained number, and the numbers themselves
    let one = work(&config, 1000);
    let trained = lora.n_params(&config) as f64;
    assert_eq!(one.parameters() as f64, trained);
    assert_eq!(at(0).adapters, 4.0 * (4.0 * trained + trained + 500.0));
    assert_eq!(at(0).weights - at(6).weights, 0.0);
    let saved = |layers| at(layers).activations() - at(layers + 1).activations();
    let kept = 1.02 * 4.0 * 1000.0 * (each.layer - each.checkpointed_layer) as f64;
    // less the copy of its adapters
    let layer = kept - 4.0 * trained / 6.0;
    for layers in 1..6 {
        assert!((saved(layers) / layer - 1.0).abs() < 1e-9, "{layers}");
    }
    // the first pays for the layer that is computed again
    assert!(saved(0) < 0.0);

    // the larger of two graphs counts, for they follow one another
    let mut two = one;
    two.graphs.push(graph(lora.clone()));
    // no layer is checkpointed, so none keeps a copy of adapters
    let of_two = Estimate::of(&two, 0);
    assert_eq!(of_two.activations(), at(0).activations());
    let more = of_two.total() - at(0).total();
    assert_eq!(more, of_two.adapters - at(0).adapters);
    two.graphs[0] = graph(LoraConfig { r: 32, ..lora });
    let of_two = Estimate::of(&two, 0);
    assert_eq!(of_two.activations(), of_two.graphs[0].1);
    assert_eq!(of_two.graphs[1].1, at(0).activations());
    assert!(of_two.graphs[0].1 > of_two.graphs[1].1);
}

#[test]
fn checkpointed_layers_change_no_byte_and_may_change_on_resume() {
    let world = World::new();
    // no layer checkpointed, all of them, and as many as a budget needs
    let check = |stage: fn(&World, &str, &str) -> anyhow::Result<()>, steps: &str, sets: &str| {
        let name = |what: &str| format!("{}-{what}", steps.len() + sets.len());
        let (plain, all, parts) = (name("plain"), name("all"), name("parts"));
        let sets = format!("{sets} train.keep_checkpoints=9");
        stage(&world, &plain, &sets).unwrap();
        assert_eq!(world.info(&plain)["memory"]["checkpointed_blocks"], 0);
        stage(&world, &all, &format!("{sets} train.checkpoint_blocks=2")).unwrap();
        let memory = world.info(&all)["memory"].clone();
        assert_eq!(memory["checkpointed_blocks"], 2, "{memory}");
        assert_same(&world, &plain, &all);

        let least = memory["estimate_gb"].as_f64().unwrap() + 1e-6;
        let budget = format!("train.memory_gb={least}");
        stage(&world, &parts, &format!("{sets} {budget} {steps}=2")).unwrap();
        let memory = world.info(&parts)["memory"].clone();
        assert!(
            memory["budget_gb"].as_f64().unwrap() <= least + 1e-6,
            "{memory}"
        );
        assert!(memory["estimate_gb"].as_f64().unwrap() <= least, "{memory}");
        stage(
            &world,
            &parts,
            &format!("resume {sets} train.memory_gb=9.5"),
        )
        .unwrap();
        assert_eq!(world.info(&parts)["memory"]["checkpointed_blocks"], 0);
        assert_eq!(world.info(&parts)["memory"]["budget_gb"], 9.5);
        assert_same(&world, &plain, &parts);
    };
    check(World::sft, "train.max_steps", "lora.dropout=0.1");
    check(World::sft, "train.max_steps", "method=full");
    world.sft("sft", "").unwrap();
    check(World::reward, "train.max_steps", "");
    world.reward("rm", "").unwrap();
    check(World::rl, "train.steps", "algorithm.name=ppo");
    let pairs = tiny("comparisons.json");
    let dpo = format!("algorithm.name=dpo data.path={pairs}");
    check(World::rl, "train.steps", &dpo);
}

#[test]
fn kept_states_are_counted_only_where_the_sampler_keeps_them() {
    let config = tiny_config(json!({}));
    let mut kept = work(&config, 1000);
    kept.sampling = vec![Sampling::default()];
    let none = Estimate::of(&kept, 0).sampling;
    kept.sampling[0].kept_states = 100;
    let more = Estimate::of(&kept, 0).sampling;
    assert_eq!(more - none, 1.5 * 4.0 * 100.0 * 24.0);

    let world = World::with_reward();
    let sampling = |name: &str, sets: &str| {
        let ppo = format!("algorithm.name=ppo train.steps=1 {sets}");
        world.rl(name, &ppo).unwrap();
        let memory = &world.info(name)["memory"];
        (memory["sampling_gb"].as_f64().unwrap() * 1e6).round()
    };
    let (kept, scored) = (
        sampling("kept", ""),
        sampling("scored", "rollout.rescore=true"),
    );
    assert!(kept > scored, "{kept} and {scored} kB");
}

#[test]
fn samples_in_different_micro_batches_are_not_counted_together() {
    let world = World::with_reward();
    let activations = |samples: usize| {
        let name = format!("rloo{samples}");
        let sets = "algorithm.name=rloo train.steps=1 train.micro_batch_tokens=1";
        let rloo = format!("{sets} algorithm.samples={samples}");
        world.rl(&name, &rloo).unwrap();
        world.info(&name)["memory"]["activations_gb"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(activations(2), activations(4));
}

#[test]
fn memory_settings_that_cannot_work_are_refused() {
    let world = World::with_reward();
    let ppo = |sets: &str| world.rl("out", &format!("algorithm.name=ppo {sets}"));
    let sft = |sets: &str| world.sft("out", sets);
    let rm = |sets: &str| world.reward("out", sets);
    for (sets, says) in [
        (
            "train.memory_gb=0.0",
            "train.memory_gb = 0 must be a number above 0",
        ),
        ("train.memory_gb=-2.5", "train.memory_gb = -2.5"),
        ("train.memory_gb=nan", "train.memory_gb = NaN"),
        ("train.memory_gb=inf", "train.memory_gb = inf"),
        (
            "train.memory_gb=much",
            "\"train.memory_gb\" is the string \"much\"",
        ),
        (
            "train.memory_gb=0.01",
            "more than train.memory_gb = 0.01: even one sequence",
        ),
        (
            "train.memory_gb=2.0 train.checkpoint_blocks=1",
            "set one of them",
        ),
        (
            "train.checkpoint_blocks=3",
            "train.checkpoint_blocks = 3, but the model has 2 layers",
        ),
        ("train.checkpoint_blocks=-1", "train.checkpoint_blocks"),
    ] {
        for result in [sft(sets), rm(sets), ppo(sets)] {
            refused(&world, result, &[says]);
        }
    }
}
