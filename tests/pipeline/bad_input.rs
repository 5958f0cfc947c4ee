//! User errors: each stage fails with one line that names the problem, its place and a remedy, and
//! writes nothing.

use super::world::World;
use anyhow::Result;
use std::fs;

/// The result is a one-line error that contains `parts`, and there is no run directory `out`.
#[track_caller]
pub fn refused(world: &World, result: Result<()>, parts: &[&str]) {
    let error = result.expect_err("this should be refused");
    let line = run::one_line(&error);
    assert!(!line.contains('\n'), "{line}");
    for part in parts {
        assert!(line.contains(part), "{line:?} does not contain {part:?}");
    }
    assert!(
        !world.path("out").exists(),
        "{line}: but something was written"
    );
}

pub type Stage = fn(&World, &str, &str) -> Result<()>;
pub const STAGES: [Stage; 3] = [World::sft, World::reward, ppo];

pub fn ppo(world: &World, run: &str, sets: &str) -> Result<()> {
    world.rl(run, &format!("algorithm.name=ppo {sets}"))
}

#[test]
fn impossible_settings_are_refused() {
    let world = World::with_reward();
    for (sets, says) in [
        (
            "train.optimizer.lr=nan",
            "train.optimizer.lr = NaN must be above 0",
        ),
        (
            "train.optimizer.lr=fast",
            "\"train.optimizer.lr\" is the string \"fast\", expected a number",
        ),
        ("train.batch_size=0", "train.batch_size = 0"),
        ("lora.r=0", "lora.r = 0"),
        ("lora.dropout=1.5", "lora.dropout = 1.5 is not in [0, 1)"),
        (
            "lora.targets=[\"nothing\"]",
            "\"nothing\" matches no layer; choose from q_proj",
        ),
        ("lora.targets=[]", "lora.targets is empty"),
        (
            "model.template=chat",
            "has no chat template; use template = \"alpaca\"",
        ),
        (
            "model.random=~/base",
            "model.random needs method = \"full\"",
        ),
    ] {
        refused(&world, world.sft("out", sets), &[says]);
    }
}

#[test]
fn impossible_settings_of_rl_are_refused() {
    let world = World::with_reward();
    for (sets, says) in [
        (
            "algorithm.name=pppo",
            "algorithm.name = \"pppo\" is not known; did you mean \"ppo\"? It is one of ",
        ),
        ("algorithm={}", "algorithm.name is missing; it is one of "),
        ("", "\"algorithm\" is missing"),
        (
            "algorithm.name=ppo algorithm.kl_coeff=1",
            "unknown key \"algorithm.kl_coeff\"; did you mean \"algorithm.kl_coef\"",
        ),
        (
            "algorithm.name=ppo algorithm.kl_coef=nan",
            "algorithm.kl_coef is not finite",
        ),
        (
            "algorithm.name=ppo algorithm.clip=-1",
            "algorithm.clip = -1",
        ),
        (
            "algorithm.name=esrl algorithm.mode=papper",
            "algorithm.mode = \"papper\", expected one of",
        ),
        (
            "algorithm.name=esrl algorithm.mode=released algorithm.ppo.clipp=1",
            "did you mean \"algorithm.ppo.clip\"",
        ),
        (
            "algorithm.name=ppo rollout.temperature=0",
            "rollout.temperature = 0",
        ),
        (
            "algorithm.name=ppo rollout.temperature=inf",
            "rollout.temperature = inf",
        ),
        (
            "algorithm.name=ppo rollout.top_p=0",
            "rollout.top_p = 0 is not in (0, 1]",
        ),
        (
            "algorithm.name=ppo train.keep_checkpoints=0",
            "train.keep_checkpoints = 0",
        ),
        (
            "algorithm.name=ppo train.keep_checkpoints=0",
            "train.keep_checkpoints = 0",
        ),
    ] {
        refused(&world, world.rl("out", sets), &[says]);
    }
}

#[test]
fn runs_of_the_wrong_kind_are_refused() {
    let world = World::with_reward();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/rm"),
        &["rm is a reward model, not a policy"],
    );
    refused(
        &world,
        ppo(&world, "out", "model.reward=~/sft"),
        &["reward does not exist", "reward-model run"],
    );
    refused(
        &world,
        world.reward("out", "model.source=~/rm"),
        &["rm is a reward model, not a policy"],
    );
    refused(
        &world,
        world.sft("out", "model.source=~/nothing"),
        &["no such directory or .gguf file"],
    );

    world.model("other", 2);
    world.sft("stranger", "model.source=~/other").unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/stranger"),
        &["was trained on the base", "this base is another one"],
    );
    world.sft("raw", "model.template=raw").unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/raw"),
        &["another prompt template"],
    );

    world.copy("sft", "cut");
    let adapter = world.path("cut/adapter/adapter_model.safetensors");
    let bytes = fs::read(&adapter).unwrap();
    fs::write(&adapter, &bytes[..bytes.len() / 2]).unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/cut"),
        &["adapter_model.safetensors does not match SHA256SUMS"],
    );
    fs::remove_dir_all(world.path("cut/adapter")).unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/cut"),
        &["cut has no adapter/ yet"],
    );
    fs::write(world.path("cut/run.json"), "{").unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.policy=~/cut"),
        &["cut/run.json is damaged"],
    );

    world.copy("rm", "headless");
    fs::remove_file(world.path("headless/reward/head.safetensors")).unwrap();
    refused(
        &world,
        ppo(&world, "out", "model.reward=~/headless"),
        &["head.safetensors is missing", "incomplete"],
    );
}

#[test]
fn an_existing_run_is_kept_and_resumed_only_with_its_settings() {
    let world = World::with_reward();
    let before = world.content("sft");
    let info = world.info("sft");
    for stage in STAGES {
        refused(
            &world,
            stage(&world, "sft", ""),
            &["sft exists; continue it with --resume or choose another --run"],
        );
    }
    refused(
        &world,
        world.sft("nowhere", "resume"),
        &["nowhere: no such run; leave out --resume"],
    );
    refused(
        &world,
        world.sft("rm", "resume"),
        &["rm is a run of reward-model, not of sft"],
    );
    refused(
        &world,
        world.sft("base", "resume"),
        &["base is not a run directory"],
    );
    let other = "resume train.optimizer.lr=0.5";
    refused(
        &world,
        world.sft("sft", other),
        &[
            "cannot be resumed with other settings",
            "train.optimizer.lr was 0.01 and is 0.5",
        ],
    );
    assert_eq!(world.content("sft"), before);
    assert_eq!(world.info("sft"), info);
}

#[test]
fn non_finite_numbers_stop_the_run_and_keep_the_last_good_checkpoint() {
    let world = World::with_reward();
    for (i, (stage, sets)) in [
        (World::sft as Stage, "method=full train.optimizer.lr=1e30"),
        (World::reward, "train.optimizer.lr=1e30"),
        (World::rl, "algorithm.name=ppo train.policy.lr=1e30"),
        (World::rl, "algorithm.name=ppo train.critic.lr=1e38"),
        (World::rl, "algorithm.name=esrl train.policy.lr=1e30"),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run-{i}");
        let sets = format!("{sets} train.save_every=1 train.eval_every=100 train.sample_every=100");
        let line = run::one_line(&stage(&world, &run, &sets).expect_err(&sets));
        assert!(line.starts_with("step "), "{line}");
        assert!(line.contains("bad tensor"), "{line}");
        assert!(line.contains("no checkpoint was written yet"), "{line}");
        assert!(line.contains("lower"), "{line}");
        assert!(line.contains(", row "), "{line}");
        assert!(line.contains("; its batch is in "), "{line}");
        let batch = world.path(&run).join("failed/step-000001.json");
        let batch: serde_json::Value =
            serde_json::from_slice(&std::fs::read(batch).unwrap()).unwrap();
        assert!(batch["rows"][0].is_object(), "{batch}");
        assert_eq!(world.info(&run)["status"], "failed");
        assert!(
            !world.path(&run).join("checkpoints/step-000001").exists(),
            "broken weights are no checkpoint"
        );
    }
}
