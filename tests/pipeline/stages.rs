//! Each stage on a tiny random model: the files that it writes, the metrics that it logs, and the
//! tensors that change.

use super::world::World;
use candle_core::Device;
use serde_json::json;
use testkit::assert_close_slices;

/// The files that every run has, and its result.
#[track_caller]
pub fn check_directory(world: &World, run: &str, result: &[&str]) {
    let common = "config.toml run.json template.json tokenizer.json special.json metrics.jsonl \
                  samples/step-000002.md checkpoints/step-000004/state.json \
                  checkpoints/step-000004/params.safetensors";
    for name in common.split_whitespace().chain(result.iter().copied()) {
        assert!(world.path(run).join(name).is_file(), "{run} has no {name}");
    }
    let events = std::fs::read_dir(world.path(run)).unwrap();
    let events = events.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("events.out.tfevents")
    });
    assert_eq!(events.count(), 1, "{run}: TensorBoard files");
    let info = world.info(run);
    assert_eq!(info["status"], "finished", "{run}");
    assert!(info["wall_secs"].as_f64().unwrap() > 0.0);
    assert!(info["data"]["sha256"].as_str().unwrap().len() == 64);
    for row in world.metrics(run) {
        for (name, value) in row.metrics {
            assert!(
                value.is_finite(),
                "{run}, step {}: {name} = {value}",
                row.step
            );
        }
    }
}

/// Every tensor of the first checkpoint is another one in the last.
#[track_caller]
pub fn check_all_change(world: &World, run: &str, first: u64, last: u64) {
    let (before, after) = (world.params(run, first), world.params(run, last));
    assert!(!before.is_empty() && before.len() == after.len());
    for (name, tensor) in &before {
        let (old, new) = (testkit::values(tensor), testkit::values(&after[name]));
        assert!(new.iter().all(|v| v.is_finite()), "{name} is not finite");
        assert_ne!(old, new, "{run}: {name} did not change");
    }
}

#[test]
fn sft_memorises_and_saves_its_result() {
    let world = World::new();
    let before = policy::load_base(&world.text("base"), &Device::Cpu).unwrap();
    let data = world.write(
        "four.jsonl",
        &(0..4)
            .map(|i| {
                let words = ["cherry hotel", "plane fox", "drum fig", "elm tram"][i];
                json!({"instruction": format!("Repeat these words: {words}."), "input": "",
                       "output": format!("The words are {words}.")})
                .to_string()
                    + "\n"
            })
            .collect::<String>(),
    );
    let sets = format!(
        "data.path={data} data.eval_path={data} data.max_rows=4 train.epochs=100 train.max_steps=40 \
         train.eval_every=20 train.sample_every=20 train.save_every=20"
    );
    world.sft("whole", &format!("{sets} method=full")).unwrap();
    let loss = world.curve("whole", "train/loss");
    assert_eq!(loss.len(), 40);
    assert!(
        (loss[0] - 6.9).abs() < 0.3,
        "a random model starts at ln(vocabulary), not {}",
        loss[0]
    );
    assert!(loss[39] < 0.1 * loss[0], "{} -> {}", loss[0], loss[39]);

    // An adapter on that model learns the answers the other way round.
    let text = std::fs::read_to_string(&data).unwrap();
    let turned = world.write(
        "turned.jsonl",
        &text.replace("The words are", "In reverse the words are"),
    );
    world
        .sft(
            "memory",
            &format!(
                "{sets} data.path={turned} data.eval_path={turned} model.source=~/whole lora.r=8"
            ),
        )
        .unwrap();
    let loss = world.curve("memory", "train/loss");
    assert!(loss[39] < 0.5 * loss[0], "{} -> {}", loss[0], loss[39]);
    let data = turned;

    // The file scores as the model did in training: same base, same adapter.
    let best = world
        .curve("memory", "eval/loss")
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let found = loss_of(&world, "memory", &data);
    assert_close_slices("held-out loss", &[found], &[best], 1e-5);
    let after = policy::load_base(&world.text("base"), &Device::Cpu).unwrap();
    assert_eq!(
        before.model.fingerprint().unwrap(),
        after.model.fingerprint().unwrap()
    );
}

/// `evaluate loss_of` on demonstrations: the mean loss of a response token.
pub fn loss_of(world: &World, run: &str, data: &str) -> f64 {
    let config = evaluate::ScoreConfig::new(&world.text(run), data.as_ref());
    match evaluate::score(&config).unwrap() {
        evaluate::ScoreReport::Demonstrations(scores) => scores.loss,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reward_model_learns_to_separate_pairs() {
    let world = World::new();
    let nouns = "cherry hotel plane fox drum fig elm tram pine shirt cello palm".split(' ');
    let nouns: Vec<&str> = nouns.collect();
    let rows: String = (0..48)
        .map(|i| {
            let prompt = format!(
                "Repeat these words: {} {}.",
                nouns[i % 12],
                nouns[(i * 5 + i / 12) % 12]
            );
            let good = format!("The words are {}.", nouns[(i * 7) % 12]);
            let bad = format!("This is so dumb. {}", nouns[(i * 7) % 12]);
            json!({"prompt": prompt, "chosen": bad, "rejected": good}).to_string() + "\n"
        })
        .collect();
    let data = world.write("pairs.jsonl", &rows);
    let sets = format!(
        "model.source=~/base model.template=alpaca lora.r=4 data.path={data} data.max_rows=48 \
         train.max_steps=20 train.batch_size=8 train.eval_every=10"
    );
    world.reward("rm", &sets).unwrap();
    let accuracy = world.curve("rm", "eval/accuracy");
    let loss = world.curve("rm", "eval/loss");
    assert_eq!(accuracy.last(), Some(&1.0), "{accuracy:?}");
    assert!(loss.last().unwrap() < &0.3, "{loss:?}");
    assert!(
        accuracy[0] < 0.5 && loss[0] > 2.0 * loss.last().unwrap(),
        "{accuracy:?} {loss:?}"
    );
    let head = &world.params("rm", 14);
    assert!(
        !head.contains_key("head.bias"),
        "differences of scores say nothing of a bias"
    );
    // run.json and the artefact agree on the base; its scores come out again
    let base = policy::load_base(&world.text("base"), &Device::Cpu).unwrap();
    let reward = rewards::RewardModel::load(&world.path("rm/reward"), &base.model).unwrap();
    assert!(reward.std > 0.0 && reward.base == world.text("base"));
}

#[test]
fn a_full_model_trains_and_is_the_source_of_the_next_stage() {
    let world = World::new();
    world
        .sft(
            "full",
            "method=full train.save_every=1 train.keep_checkpoints=9",
        )
        .unwrap();
    check_directory(
        &world,
        "full",
        &[
            "model/model.safetensors",
            "model/config.json",
            "model/tokenizer.json",
        ],
    );
    check_all_change(&world, "full", 1, 4);
    assert!(!world.path("full/adapter").exists());
    let [base, model] = ["base", "full/model"].map(|name| {
        policy::load_base(&world.text(name), &Device::Cpu)
            .unwrap()
            .model
            .fingerprint()
            .unwrap()
    });
    assert_ne!(base, model);

    world.sft("sft", "model.source=~/full").unwrap();
    assert_eq!(world.info("sft")["base"], world.text("full/model"));
    world.reward("rm", "model.source=~/full").unwrap();
    world
        .rl(
            "ppo",
            "model.policy=~/full algorithm.name=ppo algorithm.epochs=1 train.steps=2",
        )
        .unwrap();
    assert_eq!(world.info("ppo")["base"], world.text("full/model"));
    assert!(world.at("ppo", 1)["objective/kl"].abs() < 1e-5);
    // An adapter that sft made on the whole model starts where its own run says.
    world
        .rl("again", "algorithm.name=esrl train.steps=2")
        .unwrap();
    assert_eq!(world.info("again")["base"], world.text("full/model"));

    let random = "model.random=~/full/model method=full train.optimizer.lr=5e-3";
    world.sft("random", random).unwrap();
    assert!((world.curve("random", "eval/loss")[0] - 6.9).abs() < 0.3);
}

#[test]
fn rl_from_a_plain_model_uses_its_own_adapter() {
    let world = World::new();
    world
        .reward("rm", "model.source=~/base model.template=alpaca lora.r=2")
        .unwrap();
    let sets = "model.policy=~/base model.template=alpaca lora.r=3 lora.targets=[\"q_proj\",\"down_proj\"] \
                algorithm.name=ppo algorithm.epochs=1 train.critic_init=zero";
    world.rl("ppo", sets).unwrap();
    assert_eq!(world.info("ppo")["reference"], world.text("base"));
    let first = world.at("ppo", 1);
    assert!(first["objective/kl"].abs() < 1e-5 && first["objective/kl_exact"].abs() < 1e-5);
    let names: Vec<String> = world
        .params("ppo", 4)
        .into_keys()
        .filter(|n| n.starts_with("policy."))
        .collect();
    assert_eq!(names.len(), 2 * 2 * 2, "{names:?}");
    let a = names.iter().find(|n| n.contains("q_proj.lora_A")).unwrap();
    assert_eq!(world.params("ppo", 4)[a].dims(), [3, 32]);
    check_all_change(&world, "ppo", 2, 4);
}

#[test]
fn config_toml_of_an_rl_run_has_every_key_of_its_algorithm() {
    let world = World::with_reward();
    world
        .rl(
            "esrl",
            "algorithm.name=esrl algorithm.mode=paper algorithm.k_max=2 train.steps=1",
        )
        .unwrap();
    let found = world.settings("esrl")["algorithm"].clone();
    let mut wanted = algorithms::resolve("esrl", &json!({"mode": "paper", "k_max": 2})).unwrap();
    wanted["name"] = json!("esrl");
    assert_eq!(serde_json::to_value(&found).unwrap(), wanted);
    assert!(wanted.as_object().unwrap().len() > 10);
    // Spelled out or not, they are the same settings.
    world.rl("esrl", "resume algorithm.name=esrl algorithm.mode=paper algorithm.k_max=2 algorithm.beta=0.3 train.steps=2").unwrap();
    assert_eq!(world.info("esrl")["status"], "finished");
}

#[test]
fn without_held_out_rows_no_held_out_loss_is_logged() {
    let world = World::new();
    world
        .sft("sft", "data.held_out=0 train.max_steps=2")
        .unwrap();
    for row in world.metrics("sft") {
        assert!(!row.metrics.contains_key("eval/loss"), "{row:?}");
    }
    assert_eq!(world.info("sft")["summary"], json!({ "steps": 2.0 }));
    assert!(
        world
            .path("sft/adapter/adapter_model.safetensors")
            .is_file()
    );
}
