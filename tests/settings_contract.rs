//! What every setting of every stage and method must satisfy: it resumes as it was written, a
//! partial table keeps the stage's own defaults, and a setting that nothing reads is refused.
//!
//! Long because one function has the table of unused settings.

use crate::common::resume_run;
use crate::pipeline::world::{World, tiny};
use algorithms::{build, registry, resolve, unused};
use run::Run;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use toml::Table;

#[path = "settings_contract/keys.rs"]
mod keys;
#[path = "settings_contract/observed.rs"]
mod observed;

use keys::{leaves, put};
use observed::{alternatives, observe};

/// The least settings of each stage, RL with every method.
fn stages() -> Vec<(&'static str, String, Table)> {
    let table = |text: &str| text.parse::<Table>().unwrap();
    let mut all = vec![
        (
            "sft",
            "sft".to_string(),
            table("model = { source = \"x\" }\ndata = { path = \"x\" }"),
        ),
        (
            "reward-model",
            "rm".into(),
            table("model = { source = \"x\" }\ndata = { path = \"x\" }"),
        ),
    ];
    for method in algorithms::names() {
        let mut rl = table("model = { policy = \"x\", reward = \"x\" }\ndata = { path = \"x\" }");
        rl.insert(
            "algorithm".into(),
            table(&format!("name = \"{method}\"")).into(),
        );
        all.push(("esrl-rlhf", method.to_string(), rl));
    }
    let released = "name = \"esrl\"\nmode = \"released\"";
    let mut rl = table("model = { policy = \"x\", reward = \"x\" }\ndata = { path = \"x\" }");
    rl.insert("algorithm".into(), table(released).into());
    all.push(("esrl-rlhf", "esrl released".into(), rl));
    for kind in rewards::KINDS {
        let mut rl = table(
            "model = { policy = \"x\" }\ndata = { path = \"x\" }\nalgorithm = { name = \"rloo\" }",
        );
        let source = table(&format!("kind = \"{kind}\"\nclip = [-1.0, 1.0]"));
        rl.insert("rewards".into(), vec![source].into());
        all.push(("esrl-rlhf", format!("rloo, {kind}"), rl));
    }
    all
}

/// The settings as a stage holds them, with every key of the method.
fn parsed(stage: &str, table: &Table) -> anyhow::Result<Value> {
    fn of<C: DeserializeOwned + Serialize>(table: &Table) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(run::from_table::<C>(table, "")?)?)
    }
    match stage {
        "sft" => of::<sft::Config>(table),
        "reward-model" => of::<reward_model::Config>(table),
        _ => {
            let mut config = of::<esrl_rlhf::Config>(table)?;
            let mut given = config["algorithm"].clone();
            let name = given.as_object_mut().unwrap().remove("name").unwrap();
            let mut all = resolve(name.as_str().unwrap(), &given)?;
            all["name"] = name;
            config["algorithm"] = all;
            Ok(config)
        }
    }
}

/// Creates a run with the settings and resumes it with the same ones.
fn create_and_resume(stage: &str, table: &Table, dir: &Path) -> anyhow::Result<()> {
    fn with<C: DeserializeOwned + Serialize>(table: &Table, dir: &Path) -> anyhow::Result<()> {
        let config: C = run::from_table(table, "")?;
        drop(Run::create(dir, "stage", &config)?);
        drop(resume_run(dir, "stage", &config)?);
        Ok(())
    }
    match stage {
        "sft" => with::<sft::Config>(table, dir),
        "reward-model" => with::<reward_model::Config>(table, dir),
        _ => with::<esrl_rlhf::Config>(table, dir),
    }
}

#[test]
fn every_number_of_every_config_resumes() {
    let root = tempfile::tempdir().unwrap();
    let mut n = 0;
    for (stage, what, table) in stages() {
        let all = parsed(stage, &table).unwrap();
        let keys = leaves(&all).into_iter().filter(|(_, value)| value.is_f64());
        let keys: Vec<String> = keys.map(|(key, _)| key).collect();
        // decimals that neither f32 nor f64 holds exactly, in every number at once
        for number in [0.1, 0.7, 0.8, 0.95, 1.2e-5] {
            let mut changed = table.clone();
            for key in &keys {
                put(&mut changed, key, number.into());
            }
            let dir = root.path().join(format!("{n}-{number}"));
            create_and_resume(stage, &changed, &dir)
                .unwrap_or_else(|e| panic!("{what}, {number}: {e:#}"));
        }
        n += keys.len();
    }
    assert!(n > 300, "only {n} numbers found");
}

#[test]
fn a_run_with_any_temperature_resumes_and_replays() {
    let world = World::with_reward();
    let sets = "algorithm.name=rloo algorithm.kl_coef=0.07 rollout.temperature=0.7 \
                rollout.top_p=0.95 watch.kl=0.8 train.policy.lr=0.0011";
    world.rl("run", &format!("{sets} train.steps=2")).unwrap();
    world
        .rl("run", &format!("resume {sets} train.steps=4"))
        .unwrap();
    let text = esrl_rlhf::replay(&esrl_rlhf::ReplayConfig {
        base: None,
        run: world.path("run"),
        step: 3,
        rows: vec![0],
        html: None,
        force: false,
    });
    let text = text.unwrap();
    assert!(
        text.contains(" metrics equal those that the run recorded"),
        "{text}"
    );
}

#[test]
fn a_table_with_one_key_keeps_the_other_defaults() {
    let mut n = 0;
    for (stage, what, table) in stages() {
        let all = parsed(stage, &table).unwrap();
        for (key, value) in leaves(&all) {
            let mut partial = table.clone();
            let Ok(value) = toml::Value::try_from(&value) else {
                continue;
            };
            put(&mut partial, &key, value);
            let found = parsed(stage, &partial).unwrap_or_else(|e| panic!("{what}: {key}: {e:#}"));
            assert_eq!(found, all, "{what}: a table with {key} alone");
            n += 1;
        }
    }
    assert!(n > 800, "only {n} keys found");
}

/// Every key of every method, under every option that has its own code path: another value changes
/// what the method does, or the method names the key as unused, and never both.
#[test]
fn every_key_of_a_method_changes_something_or_is_named() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (name, config) in crate::algorithms::variants::variants() {
        let method = name.split(' ').next().unwrap();
        let all = resolve(method, &config).unwrap();
        let before = observe(method, &all);
        for (key, value) in leaves(&all) {
            if key == "mode" {
                continue;
            }
            let (mut changed, mut named, mut tried) = (false, false, 0);
            for other in alternatives(method, &all, &key, &value) {
                tried += 1;
                changed |= observe(method, &other) != before;
                let unused = unused(method, &other).unwrap();
                named |= unused.iter().any(|(unused, _)| *unused == key);
            }
            // some options leave one value only, as ipo of label_smoothing
            if tried > 0 && changed == named {
                wrong.push(format!(
                    "{name}: {key} = {value}, changed and named: {changed}"
                ));
            }
            n += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(n > 300, "only {n} keys found");
    assert!(registry().len() > 10);
}

#[test]
fn unused_settings_are_refused() {
    let world = World::with_reward();
    let rows = tiny("demonstrations.json");
    let held_out = tiny("heldout.json");
    for (stage, sets, expected) in [
        (
            "sft",
            "method=full lora.r=3".to_string(),
            "lora.r = 3 would not be used: method = \"full\"",
        ),
        (
            "sft",
            format!("data.eval_path={held_out} data.held_out=0.3"),
            "data.held_out = 0.3 would not be used: the rows of data.eval_path are held out",
        ),
        (
            "sft",
            "samples.n=0 samples.max_new_tokens=9".into(),
            "samples.max_new_tokens = 9",
        ),
        (
            "rl",
            "algorithm.name=rloo train.critic.lr=0.2".into(),
            "train.critic.lr = 0.2",
        ),
        (
            "rl",
            "algorithm.name=rloo train.critic_init=zero".into(),
            "train.critic_init = \"zero\"",
        ),
        (
            "rl",
            "algorithm.name=rloo train.critic_warmup_steps=2".into(),
            "rloo has no critic",
        ),
        (
            "rl",
            "algorithm.name=rloo lora.dropout=0.1".into(),
            "RL trains without dropout",
        ),
        (
            "rl",
            "algorithm.name=rloo rollout.importance_cap=3".into(),
            "rollout.importance_cap",
        ),
        (
            "by",
            "algorithm.name=rloo model.reward=~/rm rewards=[{kind=\"length\",max=5}]".into(),
            "/rm\" would not be used: [[rewards]] has no source of kind \"model\"",
        ),
        (
            "by",
            "algorithm.name=ppo train.critic_init=zero model.reward=~/rm \
             rewards=[{kind=\"length\",max=5}]"
                .into(),
            "and no critic starts from it",
        ),
        (
            "rl",
            "algorithm.name=rloo rollout.clauses.retries=3".into(),
            "rollout.clauses.retries",
        ),
        (
            "rl",
            "algorithm.name=ppo algorithm.kl_target=3".into(),
            "algorithm.kl_target = 3.0 would not be used: kl_controller is \"fixed\"; leave it out, or unset it with --set algorithm.kl_target=",
        ),
        (
            "rl",
            "algorithm.name=esrl algorithm.mode=released algorithm.ppo.kl_target=3".into(),
            "algorithm.ppo.kl_target = 3.0",
        ),
        (
            "rl",
            format!("algorithm.name=gold_s data.path={rows} watch.kl=3"),
            "watch.kl = 3",
        ),
        (
            "rl",
            format!("algorithm.name=gold_s data.path={rows} rollout.rescore=true"),
            "rollout.rescore = true",
        ),
    ] {
        let error = match stage {
            "sft" => world.sft("refused", &sets),
            "by" => world.rl_by("refused", &sets),
            _ => world.rl("refused", &sets),
        };
        let error = run::one_line(&error.expect_err(&sets));
        assert!(
            error.contains(expected) && error.contains("; leave it out, or unset it with --set "),
            "{sets}: {error}"
        );
        assert!(!world.path("refused").exists(), "{sets}");
    }
    // a run that an earlier version began goes on
    let sets = "algorithm.name=rloo";
    world.rl("old", &format!("{sets} train.steps=2")).unwrap();
    let file = world.path("old/config.toml");
    let mut settings = world.settings("old");
    settings["train"]["critic"]["lr"] = 0.5.into();
    std::fs::write(file, settings.to_string()).unwrap();
    world.forget_sums("old");
    world
        .rl(
            "old",
            &format!("resume {sets} train.steps=4 train.critic.lr=0.5"),
        )
        .unwrap();
    assert_eq!(world.info("old")["status"], "finished");
}

/// Every shipped config of RL passes: none has a setting that its method does not read.
#[test]
fn shipped_configs_have_no_unused_keys_of_their_method() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut n = 0;
    for folder in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            let table: Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
            let Some(algorithm) = table.get("algorithm").and_then(|a| a.as_table()) else {
                continue;
            };
            let mut keys = algorithm.clone();
            let name = keys.remove("name").unwrap();
            let (name, keys) = (name.as_str().unwrap(), serde_json::to_value(&keys).unwrap());
            assert_eq!(unused(name, &keys).unwrap(), [], "{}", file.display());
            let critic = build(name, &keys, 1).unwrap().requirements().critic;
            let train = table["train"].as_table().unwrap();
            assert!(
                critic || !train.contains_key("critic"),
                "{}",
                file.display()
            );
            n += 1;
        }
    }
    assert!(n > 40, "{n}");
}

#[test]
fn another_method_than_was_asked_for_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/tiny");
    let run = |file: &str, algo: &str| {
        let file = root.join(file).display().to_string();
        let words = [
            "wick",
            "rlhf",
            "--config",
            &file,
            "--algo",
            algo,
            "--set",
            "rollout.prompts=0",
        ];
        let error = wick::Cli::try_parse(words).unwrap().execute().unwrap_err();
        run::one_line(&error).replace(&format!("{}/", root.display()), "")
    };
    assert_eq!(
        run("esrl.toml", "ppo"),
        "ppo was asked for, and esrl.toml is a config of esrl; give the config of ppo, or leave ALGO out"
    );
    // these go on to the next check
    let next = "rollout.prompts = 0: a step needs prompts";
    assert_eq!(run("ppo.toml", "ppo"), next);
    assert_eq!(run("esrl-released.toml", "esrl-released"), next);
}
