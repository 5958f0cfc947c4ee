//! The entries of `[[rewards]]`: what is read, written and refused.

use super::{Settings, read};
use rewards::{Kind, SourceConfig};

#[test]
fn settings_are_read_and_written() {
    let given = r#"{ kind = "model" }, { kind = "bleu", weight = -0.5, clip = [0, 0.5], effective_order = false },
        { kind = "length", normalise = "running", unit = "words", min = 3, max = 5 },
        { kind = "process", command = ["true", "-x"], timeout_secs = 5.0 },
        { kind = "http", url = "http://localhost:1/score", key_env = "PATH" }"#;
    let configs = read(given).unwrap();
    rewards::check(&configs).unwrap();
    assert_eq!(configs[0], SourceConfig::model());
    assert_eq!(configs[1].shared.weight, -0.5);
    assert_eq!(configs[1].shared.clip, Some([0.0, 0.5]));
    let Kind::Process(process) = &configs[3].kind else {
        panic!("{:?}", configs[3])
    };
    assert_eq!((process.timeout_secs, process.retries), (5.0, 2));

    // what a run keeps in its config.toml is what it read, with every key
    let settings = Settings { rewards: configs };
    let text = toml::to_string(&settings).unwrap();
    assert!(text.contains("batch_size = 64"), "{text}");
    let again: Settings = run::from_table(&text.parse().unwrap(), "").unwrap();
    assert_eq!(again.rewards, settings.rewards);

    for entry in [
        "model",
        "bleu",
        "rouge_1",
        "rouge_2",
        "rouge_l",
        "rouge_lsum",
    ] {
        let configs = read(&format!("{{ kind = {entry:?} }}")).unwrap();
        assert_eq!(configs[0].kind.name(), entry);
        assert_eq!(rewards::needs_model(&configs), entry == "model");
        assert_eq!(rewards::needs_reference(&configs), entry != "model");
    }
    assert!(!rewards::needs_model(&[]) && !rewards::needs_reference(&[]));
}

#[test]
fn every_kind_is_read_by_its_name() {
    for name in rewards::KINDS {
        let configs = read(&format!("{{ kind = {name:?} }}")).unwrap();
        assert_eq!(configs[0].kind.name(), *name);
        let written = serde_json::to_value(&configs[0]).unwrap();
        assert_eq!(written["kind"], *name);
    }
}

/// The settings with this second entry are refused, in one line that has all of `expected`.
#[track_caller]
fn refused(entry: &str, expected: &[&str]) {
    let result = read(&format!("{{ kind = \"model\" }}, {entry}"))
        .and_then(|configs| Ok(rewards::check(&configs)?));
    let line = run::one_line(&result.expect_err(entry));
    assert_eq!(line.lines().count(), 1);
    for part in expected.iter().chain(&["rewards[1]"]) {
        assert!(line.contains(part), "{line} lacks {part}");
    }
}

#[test]
fn invalid_settings_are_refused_in_one_line() {
    refused("{ weight = 1 }", &["kind is missing", "rouge_lsum"]);
    refused("{ kind = 3 }", &["kind = 3"]);
    refused("{ kind = \"rogue_l\" }", &["did you mean \"rouge_l\"?"]);
    let own = "a source of kind \"bleu\" has effective_order, weight, normalise, clip";
    refused(
        "{ kind = \"bleu\", stem = true }",
        &["unknown key \"stem\"", own],
    );
    refused(
        "{ kind = \"model\", wieght = 2 }",
        &["unknown key \"wieght\"", "weight"],
    );
    refused(
        "{ kind = \"bleu\", weight = \"x\" }",
        &["\"weight\" is the string", "expected a number"],
    );
    refused(
        "{ kind = \"rouge_l\", stem = 1 }",
        &["\"stem\"", "true or false"],
    );
    refused(
        "{ kind = \"model\", normalise = \"max\" }",
        &["\"normalise\" is \"max\"", "\"running\""],
    );
    refused("{ kind = \"model\", weight = nan }", &["weight = NaN"]);
    refused("{ kind = \"model\", clip = [1, 1] }", &["clip = [1, 1]"]);
    refused("{ kind = \"model\", clip = [1] }", &["clip"]);
    refused(
        "{ kind = \"model\", clip = [nan, 1] }",
        &["clip = [NaN, 1]"],
    );
}

#[test]
fn a_url_with_a_key_in_it_is_refused() {
    for url in [
        "http://x/?auth=abc",
        "http://x/#token=abc",
        "http://x?a=1&access_token=abc",
        "http://x/v1/sk-0123456789/score",
        "http://x/?id=hf_0123456789",
    ] {
        let entry = format!("{{ kind = \"http\", url = \"{url}\" }}");
        refused(&entry, &["has a key in its url", "key_env"]);
    }
}

#[test]
fn invalid_values_of_a_kind_are_refused_in_one_line() {
    refused("{ kind = \"length\" }", &["needs target, min or max"]);
    refused(
        "{ kind = \"http\", url = \"http://x/score?API_key=abc\" }",
        &["has a key in its url", "key_env"],
    );
    let pasted = "{ kind = \"http\", url = \"http://x\", key_env = \"sk-not-told\" }";
    refused(pasted, &["give the name, not the key"]);
    let error = read(pasted).and_then(|configs| Ok(rewards::check(&configs)?));
    assert!(!run::one_line(&error.unwrap_err()).contains("not-told"));
    refused(
        "{ kind = \"length\", target = 3, max = 4 }",
        &["target is both bounds"],
    );
    refused("{ kind = \"length\", max = 0 }", &["bound of 0"]);
    refused(
        "{ kind = \"length\", min = 5, max = 4 }",
        &["min = 5 above max = 4"],
    );
    refused(
        "{ kind = \"length\", unit = \"letters\", max = 4 }",
        &["\"unit\" is \"letters\""],
    );
    refused("{ kind = \"format\" }", &["needs must_match"]);
    refused(
        "{ kind = \"format\", must_match = \"(\" }",
        &["must_match = \"(\"", "unclosed group"],
    );
    refused("{ kind = \"process\" }", &["needs a command"]);
    refused(
        "{ kind = \"process\", command = \"ls\" }",
        &["\"command\"", "expected an array"],
    );
    refused(
        "{ kind = \"process\", command = [\"no-such-program\"] }",
        &["there is no such program"],
    );
    refused(
        "{ kind = \"process\", command = [\"./no/such\"] }",
        &["there is no such program"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], batch_size = 0 }",
        &["batch_size = 0"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], timeout_secs = 0.0 }",
        &["timeout_secs = 0"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], timeout_secs = nan }",
        &["timeout_secs = NaN"],
    );
    refused("{ kind = \"http\" }", &["needs a url"]);
    refused(
        "{ kind = \"http\", url = \"localhost:80\" }",
        &["needs a url"],
    );
    for host in ["host:99999", "host:0", "host:http", "[::1]:70000"] {
        let entry = format!("{{ kind = \"http\", url = \"http://{host}/\" }}");
        refused(&entry, &["port is not 1 to 65535"]);
    }
    refused(
        "{ kind = \"http\", url = \"http://me:pass@host/\" }",
        &["password in its url", "key_env"],
    );
    refused(
        "{ kind = \"http\", url = \"http://host/\", key_env = \"WICK_NO_SUCH_KEY\" }",
        &["WICK_NO_SUCH_KEY", "is not set"],
    );
    refused(
        "{ kind = \"http\", url = \"http://host/\", backoff_secs = -1.0 }",
        &["backoff_secs = -1"],
    );
}
