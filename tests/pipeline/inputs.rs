//! A run continues only with the data and models that it began with.

use super::world::{World, tiny};

#[test]
fn a_run_refuses_changed_data() {
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
fn a_run_refuses_a_changed_model() {
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
fn an_rl_run_refuses_changed_models_and_prompts() {
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
        let _ = std::fs::remove_file(file.with_file_name("SHA256SUMS")); // made elsewhere
        let error = world.rl("run", &format!("resume {sets} train.steps=6"));
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "{} has changed since {} started; resume with the original, or start a new run",
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

#[test]
fn files_that_change_while_they_are_read_are_refused() {
    let world = World::new();
    std::fs::create_dir(world.path("parts")).unwrap();
    let [one, two] = ["one", "two"].map(|name| world.write(&format!("parts/{name}"), name));
    let dir = world.path("parts");
    let read = |change: &dyn Fn()| {
        run::FileHashes::of_what_is_read(&dir, || {
            let text = std::fs::read_to_string(&one)?;
            change();
            Ok(text)
        })
    };
    let (text, files) =
        read(&|| std::fs::write(dir.join("SHA256SUMS"), "no part").unwrap()).unwrap();
    assert_eq!(text, "one");
    let files: Vec<_> = files
        .iter()
        .map(|(path, hash)| (path.to_path_buf(), hash.to_string()))
        .collect();
    let of = |path: &str| (path.into(), run::hash(&std::fs::read(path).unwrap()));
    assert_eq!(files, [of(&one), of(&two)]);

    let swapped = || {
        std::fs::write(dir.join("new"), "ONE").unwrap();
        std::fs::rename(dir.join("new"), &one).unwrap();
    };
    let more = dir.join("more").display().to_string();
    let deleted = || std::fs::remove_file(&two).unwrap();
    let added = || std::fs::write(&more, "").unwrap();
    let changes: [(&dyn Fn(), &str); 3] = [(&swapped, &one), (&deleted, &two), (&added, &more)];
    for (change, path) in changes {
        let error = read(change).expect_err(path).to_string();
        assert_eq!(
            error,
            format!("{path} changed while it was read; run again")
        );
    }
}

/// The hashes that a run records are those of the files that it starts from.
#[test]
fn a_run_records_the_adapter_and_the_reward_model_that_it_read() {
    let world = World::with_reward();
    world.rl("run", "algorithm.name=rloo").unwrap();
    let inputs = world.info("run")["inputs"].clone();
    for name in [
        "sft/adapter/adapter_config.json",
        "sft/adapter/adapter_model.safetensors",
        "rm/reward/adapter_model.safetensors",
        "rm/reward/head.safetensors",
        "rm/reward/reward.json",
        "rm/reward/tokenizer.json",
    ] {
        let file = world.text(name);
        assert_eq!(
            inputs[&file],
            run::file_hash(file.as_ref()).unwrap(),
            "{name}"
        );
    }
    assert_eq!(inputs.as_object().unwrap().len(), 7);
}
