//! Each stage on a tiny random model: what it leaves on disk, what it logs, what it changes and what it does not.

use super::world::{World, tiny};
use candle_core::Device;
use serde_json::json;
use testkit::assert_close_slices;

/// The files that every run has, and its result.
#[track_caller]
fn check_directory(world: &World, run: &str, result: &[&str]) {
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
fn check_all_change(world: &World, run: &str, first: u64, last: u64) {
    let (before, after) = (world.params(run, first), world.params(run, last));
    assert!(!before.is_empty() && before.len() == after.len());
    for (name, tensor) in &before {
        let (old, new) = (testkit::values(tensor), testkit::values(&after[name]));
        assert!(new.iter().all(|v| v.is_finite()), "{name} is not finite");
        assert_ne!(old, new, "{run}: {name} did not change");
    }
}

#[test]
fn sft_memorises_and_saves_what_it_learned() {
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

    // The file speaks as the model did in training: same base, same adapter.
    let best = world
        .curve("memory", "eval/loss")
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let found = score(&world, "memory", &data);
    assert_close_slices("held-out loss", &[found], &[best], 1e-5);
    let after = policy::load_base(&world.text("base"), &Device::Cpu).unwrap();
    assert_eq!(
        before.model.fingerprint().unwrap(),
        after.model.fingerprint().unwrap()
    );
}

/// `evaluate score` on demonstrations: the mean loss of a response token.
fn score(world: &World, run: &str, data: &str) -> f64 {
    let config = evaluate::ScoreConfig::new(&world.text(run), data.as_ref());
    match evaluate::score(&config).unwrap() {
        evaluate::ScoreReport::Demonstrations(scores) => scores.loss,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_whole_way_from_sft_to_the_comparison() {
    let world = World::new();
    world
        .sft("sft", "train.save_every=1 train.keep_checkpoints=9")
        .unwrap();
    let adapter = "adapter/adapter_model.safetensors";
    check_directory(&world, "sft", &[adapter, "adapter/adapter_config.json"]);
    check_all_change(&world, "sft", 1, 4);
    assert_eq!(world.info("sft")["base"], world.text("base"));
    assert_eq!(world.info("sft")["source"], world.text("base"));
    assert_eq!(
        world.info("sft")["data"]["train_rows"].as_u64().unwrap()
            + world.info("sft")["data"]["held_out_rows"].as_u64().unwrap(),
        30
    );

    world
        .reward("rm", "train.save_every=1 train.keep_checkpoints=9")
        .unwrap();
    let parts =
        "reward.json head.safetensors adapter_model.safetensors adapter_config.json tokenizer.json";
    let parts: Vec<String> = parts.split(' ').map(|p| format!("reward/{p}")).collect();
    check_directory(
        &world,
        "rm",
        &parts.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    check_all_change(&world, "rm", 1, 4);
    assert_eq!(world.info("rm")["base"], world.text("base"));
    assert_eq!(world.info("rm")["source"], world.text("sft"));
    let last = world.at("rm", 4);
    for name in ["accuracy", "longer_wins_accuracy"] {
        assert!(
            (0.0..=1.0).contains(&last[&format!("eval/{name}")]),
            "{name}"
        );
    }

    // PPO with one pass and one minibatch: policy and reference are one at the first step.
    world
        .rl(
            "ppo",
            "algorithm.name=ppo algorithm.epochs=1 train.save_every=1 train.keep_checkpoints=9",
        )
        .unwrap();
    check_directory(&world, "ppo", &[adapter, "heldout.json"]);
    check_all_change(&world, "ppo", 1, 4);
    for name in ["reference", "base"] {
        assert_eq!(
            world.info("ppo")[name],
            world.text(if name == "base" { "base" } else { "sft" })
        );
    }
    assert_eq!(world.info("ppo")["reward"], world.text("rm"));
    let first = world.at("ppo", 1);
    assert!(first["first/policy/approxkl"].abs() < 1e-9);
    assert_eq!(first["first/policy/clipfrac"], 0.0);
    for name in ["objective/kl", "objective/kl_exact"] {
        assert!(first[name].abs() < 1e-5, "{name} = {}", first[name]);
    }
    for step in 1..=4 {
        let now = world.at("ppo", step);
        assert!(
            now["policy/approxkl"].abs() < 1e-9,
            "step {step}: {}",
            now["policy/approxkl"]
        );
        assert_eq!(now["policy/clipfrac"], 0.0);
        assert_close_slices("ratio", &[now["policy/ratio"]], &[1.0], 1e-6);
        assert!(
            now["policy/sampler_gap"] < 1e-4,
            "step {step}: {}",
            now["policy/sampler_gap"]
        );
    }
    assert!(
        world.at("ppo", 4)["objective/kl"] > 1e-4,
        "the policy moves away"
    );

    for (run, mode) in [
        ("esrl", "corrected"),
        ("paper", "paper"),
        ("released", "released"),
    ] {
        let own = if mode == "released" {
            ""
        } else {
            "algorithm.tau_min=0.8"
        };
        world
            .rl(
                run,
                &format!("algorithm.name=esrl algorithm.mode={mode} {own}"),
            )
            .unwrap();
        check_directory(&world, run, &[adapter, "heldout.json"]);
        check_all_change(&world, run, 2, 4);
        let first = world.at(run, 1);
        if mode != "paper" {
            assert!(
                first["policy/sampler_gap"] < 1e-4,
                "{mode}: {}",
                first["policy/sampler_gap"]
            );
            assert!(
                first["objective/kl"].abs() < 1e-5,
                "{mode}: {}",
                first["objective/kl"]
            );
        }
        let full = first["esrl/samples_full"];
        assert!(first["esrl/samples_drawn"] <= full && full > 0.0, "{mode}");
        // The ledger of run.json is the sum of the rows, greedy estimates with them.
        let sum = |metric: &str| world.curve(run, metric).iter().sum::<f64>();
        let greedy = if mode == "released" {
            0.0
        } else {
            sum("esrl/greedy_drawn")
        };
        let drawn = sum("esrl/samples_drawn") + greedy;
        assert_eq!(world.info(run)["summary"]["samples_drawn"], drawn, "{mode}");
    }

    let out = world.path("answers.jsonl");
    let mut answers =
        evaluate::AnswersConfig::new(&world.text("esrl"), tiny("questions.jsonl").as_ref(), &out);
    answers.max_new_tokens = 4;
    answers.greedy = true;
    let report = evaluate::answers(&answers).unwrap();
    assert_eq!((report.answered, report.already), (80, 0));
    assert_eq!(evaluate::answers(&answers).unwrap().already, 80);
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 80);

    let runs = ["sft", "ppo", "esrl"].map(|r| world.text(r));
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let table = world.path("table");
    let report =
        evaluate::compare_with(&evaluate::CompareConfig::new(&runs, &table), None).unwrap();
    let names: Vec<&str> = report.rows.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["sft", "ppo", "esrl"]);
    assert_eq!(report.prompts, 3);
    assert!(
        report.rows[0]
            .kl_k1
            .as_ref()
            .is_none_or(|kl| kl.mean.abs() < 1e-5)
    );
    assert!(report.rows.iter().all(|row| row.reward.is_some()));

    let merged = world.path("merged");
    let report =
        evaluate::merge(&evaluate::MergeConfig::new(&world.text("esrl"), &merged)).unwrap();
    assert!(report.error < 1e-4 && report.change > 1e-3, "{report}");
    let demonstrations = tiny("demonstrations.json");
    let (adapter, whole) = (
        score(&world, "esrl", &demonstrations),
        score(&world, "merged", &demonstrations),
    );
    assert_close_slices("loss of the merged model", &[whole], &[adapter], 1e-4);
}

#[test]
fn a_reward_model_learns_what_can_be_told_apart() {
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
fn a_whole_model_trains_and_is_the_next_stages_source() {
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
fn an_rl_runs_settings_name_every_key_of_its_algorithm() {
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
fn without_held_out_rows_no_held_out_loss_is_claimed() {
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

#[test]
fn a_run_goes_on_with_the_data_it_began_with() {
    let world = World::new();
    let rows = std::fs::read_to_string(tiny("demonstrations.json")).unwrap();
    let data = world.write("data.json", &rows);
    world.sft("sft", &format!("data.path={data}")).unwrap();
    world.write("data.json", &(rows.clone() + "\n"));
    let error = world.sft("sft", &format!("data.path={data} resume"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("data.json has changed since"), "{error}");

    let held_out = world.write("held_out.json", &rows);
    let sets = format!("data.eval_path={held_out}");
    world.sft("other", &sets).unwrap();
    world.write("held_out.json", &(rows + "\n"));
    let error = world.sft("other", &format!("{sets} resume"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("held_out.json has changed since"), "{error}");
}

#[test]
fn a_run_goes_on_with_the_model_it_began_with() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    world.reward("rm", "").unwrap();
    // The sft run is made again where it was, and so is its base.
    let status = |run: &str| world.info(run)["status"].clone();
    world.copy("sft", "first");
    std::fs::remove_dir_all(world.path("sft")).unwrap();
    world.sft("sft", "train.seed=5").unwrap();
    let error = world.reward("rm", "resume").unwrap_err().to_string();
    assert!(
        error.contains("adapter_model.safetensors has changed since"),
        "{error}"
    );
    assert_eq!(status("rm"), "finished");

    std::fs::remove_dir_all(world.path("base")).unwrap();
    world.model("base", 2);
    let error = world.sft("first", "resume").unwrap_err().to_string();
    assert!(error.contains("base has changed since"), "{error}");
    assert_eq!(status("first"), "finished");
}

#[test]
fn an_rl_run_goes_on_with_the_models_and_prompts_it_began_with() {
    let world = World::with_reward();
    let rows = std::fs::read_to_string(tiny("prompts.json")).unwrap();
    let held_out = world.write("held_out.json", &rows);
    let sets = format!("algorithm.name=rloo data.eval_path={held_out}");
    world.rl("run", &sets).unwrap();
    let before = world.content("run");
    // each reads as before
    for name in [
        "held_out.json",
        "sft/adapter/adapter_config.json",
        "rm/reward/reward.json",
    ] {
        let file = world.path(name);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let error = world.rl("run", &format!("resume {sets} train.steps=6"));
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "{} has changed since {} began; resume with what it began with, or begin a new run",
                file.display(),
                world.text("run")
            )
        );
        assert_eq!(world.info("run")["status"], "finished");
        assert_eq!(world.content("run"), before);
        std::fs::write(&file, text).unwrap();
    }
    world
        .rl("run", &format!("resume {sets} train.steps=6"))
        .unwrap();
}
