//! Wrong names of settings, and settings that are missing: what is suggested.

/// Names of other trainers suggest ours, in each stage's own tables.
#[test]
fn another_trainers_name_of_a_setting_suggests_ours() {
    fn suggested<T: serde::de::DeserializeOwned>(key: &str) -> String {
        let error = run::load_config::<T>(None, &[format!("{key}=1")]);
        let error = run::one_line(&error.err().expect("an unknown key"));
        let (_, name) = error.split_once("did you mean \"").expect(&error);
        let ours = name.trim_end_matches("\"?").to_string();
        let error = run::load_config::<T>(None, &[format!("{ours}=1")]);
        let error = run::one_line(&error.err().expect("no model"));
        assert!(!error.contains("unknown key"), "{ours}: {error}");
        ours
    }
    for (wrong, ours) in [
        ("train.learning_rate", "train.optimizer.lr"),
        ("train.lr", "train.optimizer.lr"),
        ("train.num_train_epochs", "train.epochs"),
        ("train.per_device_train_batch_size", "train.batch_size"),
        ("train.save_steps", "train.save_every"),
        ("train.optimizer.learning_rate", "train.optimizer.lr"),
        ("lora.rank", "lora.r"),
        ("lora.target_modules", "lora.targets"),
        ("lora.lora_alpha", "lora.alpha"),
        ("data.max_seq_length", "data.max_len"),
        ("data.dataset", "data.path"),
        ("model.model_name_or_path", "model.source"),
        // outside every table
        ("learning_rate", "train.optimizer.lr"),
        ("num_train_epochs", "train.epochs"),
        ("epochs", "train.epochs"),
        ("batch_size", "train.batch_size"),
        ("max_steps", "train.max_steps"),
        ("lr", "train.optimizer.lr"),
        ("max_length", "data.max_len"),
        ("source", "model.source"),
    ] {
        assert_eq!(suggested::<sft::Config>(wrong), ours, "sft: {wrong}");
        if !wrong.starts_with("lora") {
            assert_eq!(
                suggested::<reward_model::Config>(wrong),
                ours,
                "rm: {wrong}"
            );
        }
    }
    for (wrong, ours) in [
        ("train.learning_rate", "train.policy.lr"),
        ("train.num_steps", "train.steps"),
        ("rollout.max_tokens", "rollout.max_new_tokens"),
        ("rollout.batch_size", "rollout.prompts"),
        ("model.model_name_or_path", "model.policy"),
        ("model.reward_model", "model.reward"),
        ("learning_rate", "train.policy.lr"),
        ("kl_coef", "algorithm.kl_coef"),
        ("batch_size", "rollout.prompts"),
        ("num_generations", "algorithm.samples"),
        ("temperature", "rollout.temperature"),
        ("reward_model", "model.reward"),
        ("lora_alpha", "lora.alpha"),
    ] {
        assert_eq!(suggested::<esrl_rlhf::Config>(wrong), ours, "rlhf: {wrong}");
    }
}

#[test]
fn settings_that_are_missing_say_how_to_give_them() {
    let error = run::load_config::<sft::Config>(None, &[]).err().unwrap();
    assert_eq!(
        run::one_line(&error),
        "\"model\" is missing; give --config FILE, or --set for each key without a default (see \
         --help)"
    );
    assert_eq!(run::nearest("PPO", &["dpo", "ppo"]), Some("ppo"));
}

/// If no known name is similar, the error lists the known names.
#[test]
fn a_name_like_no_other_gets_the_list() {
    for wrong in ["watch.kl", "foo", "a.b"] {
        let error = run::load_config::<sft::Config>(None, &[format!("{wrong}=1")]);
        let error = run::one_line(&error.err().unwrap());
        let list =
            "; the keys there are model, method, lora, data, train, samples, device, compute";
        assert!(error.ends_with(list), "{error}");
    }
}
