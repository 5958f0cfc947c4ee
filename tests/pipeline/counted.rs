//! What a plan counts in the data and on the disk: held-out rows, prompts of samples, passes over a
//! pool, checkpoints.

use super::memory::work;
use super::world::{World, tiny};
use crate::common::tiny_config;
use models::{Activations, Fetch, KvCache, LoraConfig};
use planning::{Disk, Graph, Sampling, Workload};
use policy::{PolicyMeta, TemplateChoice};
use serde_json::{Value, json};
use std::fs;

/// Width 32, feed-forward 48, 4 heads that share 2 of keys of 8, 2 layers.
const FORWARD: f64 = (3 * 48 + 5 * 32) as f64;
const HEADS: f64 = 4.0;
/// Two chunks of logits while scoring on a GPU
const COMPARED: f64 = 8.0 * 16.8e6;
const CACHED: usize = 2 * 2 * 16;

fn gb(plan: &Value, what: &str) -> f64 {
    plan["memory"][what].as_f64().unwrap()
}

#[track_caller]
fn close(gb: f64, bytes: f64) {
    assert!((gb * 1e9 - bytes).abs() < 1e3, "{gb} GB, {bytes} B");
}

fn words(n: usize) -> String {
    vec!["shirt"; n].join(" ")
}

fn model_meta(world: &World) -> PolicyMeta {
    PolicyMeta::open(
        world.text("base").as_str().into(),
        TemplateChoice::Alpaca,
        None,
        Fetch::Shape,
    )
    .unwrap()
}

/// Tokens of a prompt, and with its answer.
fn tokens(world: &World, prompt: usize, answer: usize) -> (usize, usize) {
    let ask = data::Ask::Instruction {
        instruction: words(prompt),
        input: String::new(),
    };
    let prompt = data::Prompt::new(ask, None);
    let encoder = model_meta(world).encoder;
    let example = encoder.example(&prompt, &words(answer)).unwrap();
    (example.prompt_len, example.ids.len())
}

fn demonstrations(world: &World, name: &str, rows: &[(usize, usize)]) -> String {
    let row = |(prompt, answer): &(usize, usize)| json!({ "instruction": words(*prompt), "output": words(*answer) });
    let rows: Vec<Value> = rows.iter().map(row).collect();
    world.write(name, &Value::from(rows).to_string())
}

/// A forward without a graph on a GPU, in f32, since no kernel has heads of 8.
fn gpu(tokens: usize, longest: usize) -> f64 {
    let scores = 4.0 * HEADS * (longest * longest) as f64;
    1.1 * 4.0 * (tokens as f64 * FORWARD + scores)
}

#[test]
fn long_held_out_rows_are_counted_in_evaluations() {
    let world = World::new();
    let short = demonstrations(&world, "short.json", &[(3, 2), (4, 2), (5, 3), (6, 4)]);
    let long = demonstrations(&world, "long.json", &[(20, 30)]);
    let (_, longest) = tokens(&world, 20, 30);
    let (_, trained) = tokens(&world, 6, 4);
    assert!(longest > trained + 30);
    let sets = format!("data.path={short} data.eval_path={long} samples.n=0 device=cuda");
    let plan = |more: &str| world.plan("sft", &format!("{sets} {more}")).unwrap();
    let lora = plan("train.batch_size=1");
    assert_eq!(gb(&lora, "largest_forward_tokens"), trained as f64);
    close(gb(&lora, "reading_gb"), gpu(longest, longest) + COMPARED);
    // where every weight is trained, evaluations record a graph
    let full = plan("train.batch_size=1 method=full");
    assert_eq!(gb(&full, "largest_forward_tokens"), longest as f64);
    let each = Activations::on_gpu(&model_meta(&world).base.config, None);
    let token = 2 * each.layer + each.gradients + 6 * 32;
    let pairs = 2 * each.layer_pairs + each.gradient_pairs;
    let graph = 1.1 * 4.0 * (longest * token + longest * longest * pairs) as f64 + 18.0 * 16.8e6;
    close(gb(&full, "activations_gb"), graph);

    let pair = |prompt: usize, answer: usize| json!([{ "prompt": words(prompt), "chosen": words(answer), "rejected": words(answer + 1) }]);
    let short = world.write("short-pairs.json", &pair(3, 2).to_string());
    let long = world.write("long-pairs.json", &pair(20, 12).to_string());
    let sets = format!(
        "model.source=~/base model.template=alpaca data.path={short} data.eval_path={long} device=cuda reward.normalisation_samples=2"
    );
    let plan = world.plan("reward-model", &sets).unwrap();
    let ((prompt, chosen), (_, rejected)) = (tokens(&world, 20, 12), tokens(&world, 20, 13));
    // a golden answer is scored by itself; in a pair the answers share their prompt
    let read = gpu(chosen + rejected, chosen + rejected - prompt);
    close(gb(&plan, "reading_gb"), read + COMPARED);
}

/// The cache has rows in units of 16.
#[test]
fn sampling_is_counted_for_the_longest_prompts_at_the_same_time() {
    let of = |n_answers, max_rows| Sampling::of(vec![10, 40, 20, 33], n_answers, 7, max_rows);
    let all = of(12, 32);
    assert_eq!(all.cache_rows(), (16 + 48 + 32 + 48) + 12 * 16);
    assert_eq!((all.rows, all.prompt_tokens()), (12, 103));
    assert_eq!((all.prompts[0], all.max_new_tokens), (40, 7));
    // three at a time may be of three prompts, however many answers each gets
    let mut few = of(12, 3);
    assert_eq!(few.cache_rows(), (48 + 48 + 32) + 3 * 16);
    assert_eq!((few.rows, few.prompt_tokens()), (3, 93));
    // as if `rollout.max_rows` were lower
    few.rows = 2;
    assert_eq!(few.cache_rows(), of(12, 2).cache_rows());
    assert_eq!(few.prompt_tokens(), of(12, 2).prompt_tokens());
    assert_eq!(of(0, 3).cache_rows(), 0);
}

#[test]
fn samples_are_counted_for_the_prompts_that_are_answered() {
    let world = World::new();
    let short = demonstrations(&world, "short.json", &[(3, 2), (4, 2), (5, 3), (6, 4)]);
    let long = demonstrations(&world, "long.json", &[(40, 2), (3, 1)]);
    let ((long_prompt, _), (short_prompt, _)) = (tokens(&world, 40, 2), tokens(&world, 3, 1));
    let sets = "samples.n=2 samples.max_new_tokens=6 data.max_len=40";
    let sets = format!("data.path={short} data.eval_path={long} {sets}");
    assert!(long_prompt > 40, "{long_prompt}");
    let plan = world.plan("sft", &sets).unwrap();
    let prompts = [long_prompt, short_prompt];
    let rows: usize = prompts.map(KvCache::rows_for).iter().sum();
    let cache = 1.125 * (CACHED * (rows + 2 * 16)) as f64;
    let prefill = 1.02 * (long_prompt + short_prompt) as f64 * FORWARD;
    let logits = 3 * 2 * model_meta(&world).base.config.vocab_size;
    let bytes = 4.0 * (cache + prefill.max(logits as f64));
    close(gb(&plan, "sampling_gb"), bytes);

    // ESRL may sample one answer to each of four prompts, and answers four new prompts greedily,
    // whatever it may sample at most
    let sampling = |more: &str| {
        let sets =
            "model.policy=~/base algorithm.name=esrl rollout.max_rows=4 rollout.rescore=true";
        let plan = world.plan("esrl-rlhf", &format!("{sets} {more}")).unwrap();
        gb(&plan, "sampling_gb")
    };
    assert_eq!(sampling("algorithm.k_max=4"), sampling("algorithm.k_max=1"));
}

/// The dtype decides only where a frozen base stays as it is stored.
#[test]
fn a_plan_notes_where_the_dtype_of_config_json_decided() {
    let world = World::new();
    fs::remove_file(world.path("base/model.safetensors")).unwrap();
    let plan = |sets: &str| {
        let plan = world.plan("sft", sets).unwrap();
        assert_eq!(plan["model"]["weights_here"], false);
        plan["notes"]
            .to_string()
            .contains("the dtype of config.json")
    };
    assert!(plan(""));
    assert!(!plan("device=cuda"));
    assert!(!plan("method=full"));
}

#[test]
fn the_last_batch_of_a_pass_over_a_pool_has_the_remaining_rows() {
    let world = World::new();
    let trained = |steps: usize, prompts: usize| {
        let data = tiny("demonstrations.json");
        let sets = format!(
            "model.policy=~/base algorithm.name=rwr data.path={data} train.steps={steps} rollout.prompts={prompts}"
        );
        let plan = world.plan("esrl-rlhf", &sets).unwrap();
        let steps = &plan["steps"];
        assert_eq!(steps["optimiser_steps"], steps["steps"]);
        (
            plan["tokens"]["trained"].as_u64().unwrap(),
            steps["rows"].as_u64().unwrap() as usize,
        )
    };
    let (one, rows) = trained(1, 1);
    let (pass, _) = trained(rows, 1);
    assert!(pass > one);
    for prompts in [4, 5, 7] {
        assert_eq!(
            trained(rows.div_ceil(prompts), prompts).0,
            pass,
            "{prompts}"
        );
        assert_eq!(
            trained(3 * rows.div_ceil(prompts), prompts).0,
            trained(3 * rows, 1).0
        );
    }
}

/// Two checkpoints of three times the numbers, one more while it is written, a result, and the
/// older checkpoint's result: eleven times the numbers.
#[test]
fn a_run_without_room_on_the_disk_is_refused_unless_it_has_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let free = run::free_space_bytes(&dir).unwrap() as usize;
    let base = work(&tiny_config(json!({})), 100);
    let disk = |bytes: usize, n: usize, mb: Option<u64>, n_checkpoints: usize| {
        let graph = Graph {
            name: "policy",
            lora: Some(LoraConfig::default()),
            head: bytes / 4,
        };
        Workload {
            dir: dir.clone(),
            graphs: vec![graph],
            retention: run::RetentionPolicy { n, mb },
            n_checkpoints,
            results: vec![("adapter", false)],
            ..base.clone()
        }
    };
    let (fits, not) = (free / 12, free / 9);
    let small = Disk::of(&disk(4_000, 2, None, 5));
    let state = small.checkpoint_bytes - 3 * small.results_bytes["adapter"];
    assert!((1_000..10_000).contains(&state), "{state}");
    assert_eq!(small.checkpoints_kept_bytes, 2 * small.checkpoint_bytes);
    assert_eq!(small.most_bytes, small.run_bytes + small.checkpoint_bytes);
    disk(fits, 2, None, 5).require_space().unwrap();
    let error = run::one_line(&disk(not, 2, None, 5).require_space().unwrap_err());
    assert!(
        error.starts_with("the disk has no room for the run"),
        "{error}"
    );
    assert!(error.contains("MB, and"), "{error}");
    // a run keeps no more than it writes, and no more than it may keep
    disk(not, 2, None, 1).require_space().unwrap();
    disk(not, 9, Some(1), 9).require_space().unwrap();
    let first = dir.join("checkpoints/step-000001");
    fs::create_dir_all(&first).unwrap();
    disk(not, 2, None, 5).require_space().unwrap_err();
    fs::write(first.join("state.json"), "{}").unwrap();
    disk(not, 2, None, 5).require_space().unwrap();
}

/// Four checkpoints are written, however many may be kept.
#[test]
fn plan_and_run_need_the_same_room_on_the_disk() {
    let world = World::new();
    let sets = "train.keep_checkpoints=4000000000 train.save_every=1";
    let most = |stage: &str, sets: &str| {
        let plan = world.plan(stage, sets).unwrap();
        plan["disk"]["most_bytes"].as_f64().unwrap()
    };
    let (few, many) = (
        most("sft", "train.keep_checkpoints=4 train.save_every=1"),
        most("sft", sets),
    );
    assert_eq!(few, many);
    world.sft("sft", sets).unwrap();
    world.reward("rm", sets).unwrap();
    world
        .rl("ppo", &format!("algorithm.name=ppo {sets}"))
        .unwrap();
}
