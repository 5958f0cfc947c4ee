//! Runs whose base lies elsewhere than they recorded.
//!
//! Long because all commands are tried on one world, whose runs take seconds.

use super::adapters::error;
use super::world::{World, tiny};
use evaluate::{
    AnswersConfig, CompareConfig, MergeConfig, ScoreConfig, answers, compare, merge, score,
};
use std::fs;

/// A run whose base was moved goes on with `model.base`, to the bytes of one that was not, and is
/// evaluated and replayed with `--base`.
#[test]
fn a_run_whose_base_has_moved_is_used_and_resumed() {
    let world = World::with_reward();
    let rl = "algorithm.name=ppo";
    world.rl("rl", rl).unwrap();
    for run in ["sft", "rm", "rl"] {
        world.copy(run, &format!("{run}-moved"));
        world.copy(run, &format!("{run}-kept"));
    }
    world.sft("sft-kept", "resume train.max_steps=6").unwrap();
    world.reward("rm-kept", "resume train.max_steps=6").unwrap();
    world
        .rl("rl-kept", &format!("resume {rl} train.steps=6"))
        .unwrap();
    world.copy("base", "original");
    fs::rename(world.path("base"), world.path("elsewhere")).unwrap();
    world.model("base-2", 2);

    let missing = "there is none";
    let text = error(world.reward("out", "model.source=~/sft-moved"));
    assert!(
        text.contains(missing) && text.contains("model.base"),
        "{text}"
    );
    for (run, resume, length) in [
        (
            "sft",
            World::sft as fn(&World, &str, &str) -> _,
            "train.max_steps=6",
        ),
        ("rm", World::reward, "train.max_steps=6"),
        ("rl", World::rl, "algorithm.name=ppo train.steps=6"),
    ] {
        let [moved, kept] = ["moved", "kept"].map(|name| format!("{run}-{name}"));
        let sets = format!("resume {length}");
        let text = error(resume(&world, &moved, &sets));
        assert!(text.contains("name its place with model.base"), "{text}");
        let text = error(resume(
            &world,
            &moved,
            &format!("{sets} model.base=~/base-2"),
        ));
        let expected = match run {
            "sft" => "base-2 is not the base that",
            _ => "belongs to another base",
        };
        assert!(text.contains(expected), "{run}: {text}");
        resume(&world, &moved, &format!("{sets} model.base=~/elsewhere")).unwrap();
        assert_eq!(world.metrics(&moved), world.metrics(&kept));
        let at = |run: &str| {
            let params = world.params(run, 6).into_iter();
            let mut params: Vec<_> = params.map(|(k, v)| (k, testkit::values(&v))).collect();
            params.sort_by(|a, b| a.0.cmp(&b.0));
            params
        };
        assert_eq!(at(&moved), at(&kept), "{run}");
        let info = world.info(&moved);
        assert_eq!(
            info["base"].as_str(),
            Some(world.text("elsewhere").as_str())
        );
        assert!(info["base_fingerprint"].is_string());
        // where it is now is stored: nothing is given the second time
        let longer = length.replace("=6", "=7");
        resume(
            &world,
            &moved,
            &format!("resume {longer} model.base=~/elsewhere"),
        )
        .unwrap();
    }
    // an earlier run says where its base was, and model.base where it is
    world
        .reward("rm-2", "model.base=~/elsewhere model.source=~/sft")
        .unwrap();
    let replay = |base: Option<String>| {
        esrl_rlhf::replay(&esrl_rlhf::ReplayConfig {
            base,
            run: world.path("rl"),
            step: 3,
            rows: vec![0],
            html: None,
            force: false,
        })
    };
    error(replay(None));
    let text = replay(Some(world.text("elsewhere"))).unwrap();
    assert!(text.contains("equal"), "{text}");
    // steps from before the move are computed on the base as it lies now
    let text = esrl_rlhf::replay(&esrl_rlhf::ReplayConfig {
        base: None,
        run: world.path("rl-moved"),
        step: 3,
        rows: vec![0],
        html: None,
        force: false,
    });
    assert!(text.unwrap().contains("equal"));
    let answer = |base: Option<&str>| {
        answers(&AnswersConfig {
            questions: None,
            out: None,
            prompt: vec!["Copy this list: palm house.".into()],
            greedy: true,
            max_new_tokens: 4,
            base: base.map(|base| world.text(base)),
            ..AnswersConfig::new(&world.text("sft"), "".as_ref(), "".as_ref())
        })
    };
    let text = error(answer(None));
    assert!(text.contains(missing) && text.contains("--base"), "{text}");
    assert_eq!(answer(Some("elsewhere")).unwrap().answered, 1);
    let text = error(answer(Some("base-2")));
    assert!(text.contains("belongs to another base"), "{text}");
    let out = world.path("merged");
    let merged = |base: Option<&str>| {
        merge(&MergeConfig {
            base: base.map(|base| world.text(base)),
            ..MergeConfig::new(&world.text("sft"), &out)
        })
    };
    assert!(error(merged(None)).contains("--base"));
    merged(Some("elsewhere")).unwrap();
    // the runs, the reference and the reward model are all on it
    let runs = ["elsewhere", "sft", "rl"].map(|run| world.text(run));
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let compared = |runs: &[&str], base: Option<&str>| {
        compare(&CompareConfig {
            base: base.map(|base| world.text(base)),
            n: 2,
            max_new_tokens: Some(3),
            ..CompareConfig::new(runs, &world.path("compared"))
        })
    };
    assert!(error(compared(&runs, None)).contains("--base"));
    let report = compared(&runs, Some("elsewhere")).unwrap();
    assert_eq!(report.reward.unwrap().name, "rm");
    assert!(
        report.rows[2].kl_exact.is_some(),
        "the reference was opened"
    );

    let pairs = tiny("comparisons.json");
    let rm = |base: Option<&str>| {
        score(&ScoreConfig {
            max_rows: Some(4),
            base: base.map(|base| world.text(base)),
            ..ScoreConfig::new(&world.text("rm"), pairs.as_ref())
        })
    };
    assert!(error(rm(None)).contains("--base"));
    assert!(error(rm(Some("base-2"))).contains("this base is another one"));
    rm(Some("elsewhere")).unwrap();
}

/// A run that began from another run does not take a base for that run's policy.
#[test]
fn a_resume_does_not_take_the_base_for_a_run_that_is_missing() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    world.sft("again", "model.source=~/sft").unwrap();
    fs::rename(world.path("sft"), world.path("sft-elsewhere")).unwrap();
    let sets = "resume model.source=~/sft train.max_steps=6";
    let text = error(world.sft("again", &format!("{sets} model.base=~/base")));
    assert!(text.contains("/sft\": no such directory"), "{text}");
    fs::rename(world.path("sft-elsewhere"), world.path("sft")).unwrap();
    world.sft("again", sets).unwrap();
}

/// The relative path of a base is found above the run that is resumed, wherever that was started.
#[test]
fn a_run_that_was_moved_together_with_its_base_is_resumed() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    world.copy("sft", "kept");
    world.sft("kept", "resume train.max_steps=6").unwrap();
    let mut settings = world.settings("sft");
    settings["model"]["source"] = "base".into();
    fs::write(world.path("sft/config.toml"), settings.to_string()).unwrap();
    let mut info = world.info("sft");
    info["base"] = "base".into();
    fs::write(world.path("sft/run.json"), info.to_string()).unwrap();
    world.forget_sums("sft");
    let sets = "resume model.source=base train.max_steps=6";
    world.sft("sft", sets).unwrap();
    assert_eq!(world.metrics("sft"), world.metrics("kept"));
    assert_eq!(
        world.info("sft")["base"].as_str(),
        Some(world.text("base").as_str())
    );
    // the same name, but other numbers
    fs::rename(world.path("base"), world.path("first")).unwrap();
    world.model("base", 2);
    let text = error(world.sft("sft", &sets.replace("=6", "=7")));
    assert!(text.contains("base has changed since"), "{text}");
}

/// A base of the same numbers whose tokenizer gives other ids would be learnt from without a word.
#[test]
fn a_base_with_other_tokens_is_refused() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    world.copy("base", "swapped");
    let file = world.path("swapped/tokenizer.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let mut names = vocab.keys().filter(|name| name.len() == 2).cloned();
    let [a, b] = [names.next().unwrap(), names.next().unwrap()];
    let (of_a, of_b) = (vocab[&a].clone(), vocab[&b].clone());
    vocab.insert(a, of_b);
    vocab.insert(b, of_a);
    fs::write(&file, tokenizer.to_string()).unwrap();

    let before = fs::read(world.path("sft/tokenizer.json")).unwrap();
    let expected = "its tokens differ from";
    let text = error(world.sft("sft", "resume train.max_steps=6 model.base=~/swapped"));
    assert!(text.contains(expected), "{text}");
    assert_eq!(fs::read(world.path("sft/tokenizer.json")).unwrap(), before);
    let text = error(world.reward("rm", "model.base=~/swapped"));
    assert!(text.contains(expected), "{text}");
    let scored = score(&ScoreConfig {
        base: Some(world.text("swapped")),
        ..ScoreConfig::new(&world.text("sft"), tiny("demonstrations.json").as_ref())
    });
    let text = error(scored);
    assert!(text.contains(expected), "{text}");
}
