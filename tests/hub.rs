//! Models from the hub, against a small local server that answers like the hub.

mod bounds;
mod datasets;

use candle_core::{Device, Tensor};
use hub::HubSettings;
use models::{Fetch, ModelMeta, ModelSource, WeightStorage, fetch_model};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::{Kind, MockHub, golden};

/// Serves the given directories as models.
fn serving(models: &[(&str, &Path)]) -> MockHub {
    let mock = MockHub::new();
    for (id, dir) in models {
        mock.add(Kind::Model, id, "main", dir);
    }
    mock
}

fn settings(endpoint: &str, cache: &Path) -> HubSettings {
    HubSettings {
        endpoint: endpoint.to_string(),
        token: None,
        cache_dir: cache.to_path_buf(),
        offline: false,
        retry_wait: Duration::from_millis(1),
    }
}

/// The files requested since the last call.
fn asked_for(mock: &MockHub) -> Vec<String> {
    let name = |target: &str| Some(target.split_once("/resolve/main/")?.1.to_string());
    let asked = mock.take_asked();
    asked
        .iter()
        .filter_map(|asked| name(&asked.target))
        .collect()
}

fn weights(dir: &Path) -> Vec<(String, Tensor)> {
    let loaded = models::load(&ModelSource::Dir(dir.to_path_buf()), &Device::Cpu).unwrap();
    loaded.model.tensors()
}

#[track_caller]
fn says(result: models::Result<std::path::PathBuf>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    assert!(!text.contains('\n'), "more than a line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn single_and_sharded_models_are_fetched_once() {
    let (tied, untied) = (golden("tiny-llama/tied"), golden("tiny-llama/untied"));
    let mock = serving(&[("org/one", &tied), ("org/shards", &untied)]);
    let mut asked = Vec::new();
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    for (id, original) in [("org/one", &tied), ("org/shards", &untied)] {
        let dir = fetch_model(&hub, id, Fetch::Whole).unwrap();
        assert!(dir.starts_with(cache.path()));
        for ((name, found), (_, wanted)) in weights(&dir).iter().zip(weights(original)) {
            testkit::assert_close(name, found, &wanted, 0.0);
        }
        // the tokenizer's files came along
        let template = fs::read(original.join("chat_template.jinja")).unwrap();
        assert_eq!(fs::read(dir.join("chat_template.jinja")).unwrap(), template);
        asked.extend(asked_for(&mock));
        assert_eq!(fetch_model(&hub, id, Fetch::Whole).unwrap(), dir);
        assert_eq!(
            mock.take_asked().len(),
            0,
            "a whole model in the cache asks nothing"
        );
        let offline = HubSettings {
            offline: true,
            ..hub.clone()
        };
        assert_eq!(fetch_model(&offline, id, Fetch::Whole).unwrap(), dir);
    }
    let asked = asked.join(" ");
    assert!(!asked.contains("README"), "{asked}");

    // a shard that is missing from the cache is fetched again
    let dir = fetch_model(&hub, "org/shards", Fetch::Whole).unwrap();
    fs::remove_file(dir.join("model-00002-of-00003.safetensors")).unwrap();
    assert_eq!(fetch_model(&hub, "org/shards", Fetch::Whole).unwrap(), dir);
    assert_eq!(weights(&dir).len(), weights(&untied).len());
}

/// The hub moves from one model to another of the same shape while both are in use.
#[test]
fn a_model_is_of_one_revision_and_a_plan_fetches_only_its_shape() {
    let repo = tempfile::tempdir().unwrap();
    let put = |from: &Path| {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), repo.path().join(entry.file_name())).unwrap();
        }
    };
    let first = golden("tiny-llama/tied");
    put(&first);
    let mock = serving(&[("org/m", repo.path())]);
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    let meta = |fetch| ModelMeta::of_hub(&hub, "org/m", fetch).unwrap();

    let shape = meta(Fetch::Shape).weights(WeightStorage::Exact).unwrap();
    assert!(!shape.present);
    let asked = asked_for(&mock);
    assert!(asked.contains(&"config.json".into()), "{asked:?}");
    assert!(
        !asked.iter().any(|name| name.contains("safetensors")),
        "{asked:?}"
    );
    // a run counts by the file itself
    let whole = meta(Fetch::Whole);
    // its length, then its bytes
    assert_eq!(asked_for(&mock), ["model.safetensors"; 2]);
    let counted = whole.weights(WeightStorage::Exact).unwrap();
    assert!(counted.present);
    let numbers = whole
        .load(&Device::Cpu, WeightStorage::Exact)
        .unwrap()
        .model;
    assert_eq!(counted.bytes(), numbers.bytes());

    // another revision enters the cache between the metadata and the weights
    let before = meta(Fetch::Whole);
    let mut other = candle_core::safetensors::load(first.join("model.safetensors"), &Device::Cpu);
    for tensor in other.as_mut().unwrap().values_mut() {
        *tensor = (&*tensor * 2.0).unwrap();
    }
    let file = repo.path().join("model.safetensors");
    candle_core::safetensors::save(&other.unwrap(), file).unwrap();
    mock.set_commit("org/m", "facade");
    let old = fetch_model(&hub, "org/m", Fetch::Whole).unwrap();
    // config.json is missing from the cache, so the hub is asked
    fs::remove_file(old.join("config.json")).unwrap();
    let new = fetch_model(&hub, "org/m", Fetch::Whole).unwrap();
    assert_ne!(old, new);
    let loaded = before
        .load(&Device::Cpu, WeightStorage::Whole)
        .unwrap()
        .model;
    let (was, is) = (weights(&first), weights(&new));
    for (i, (name, found)) in loaded.tensors().iter().enumerate() {
        testkit::assert_close(name, found, &was[i].1, 0.0);
        let found = (found * 2.0).unwrap();
        testkit::assert_close(name, &found, &is[i].1, 0.0);
    }

    // a shape of the old revision, then the weights: all of the new one in one call
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    mock.set_commit("org/m", "c0ffee");
    let shape = fetch_model(&hub, "org/m", Fetch::Shape).unwrap();
    mock.set_commit("org/m", "facade");
    let whole = fetch_model(&hub, "org/m", Fetch::Whole).unwrap();
    assert_ne!(shape, whole);
    assert_eq!(weights(&whole).len(), was.len());
}

#[test]
fn errors_of_the_hub_are_one_line() {
    let tied = golden("tiny-llama/tied");
    let mock = serving(&[("org/gated", &tied)]);
    mock.require_token("secret");
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    says(
        fetch_model(&hub, "org/gated", Fetch::Whole),
        &["org/gated", "401", "HF_TOKEN"],
    );
    let wrong = HubSettings {
        token: Some("wrong".into()),
        ..hub.clone()
    };
    says(fetch_model(&wrong, "org/gated", Fetch::Whole), &["401"]);
    let right = HubSettings {
        token: Some("secret".into()),
        ..hub.clone()
    };
    says(
        fetch_model(&right, "org/nothing", Fetch::Whole),
        &["org/nothing", "404"],
    );
    let offline = HubSettings {
        offline: true,
        ..hub
    };
    says(
        fetch_model(&offline, "org/gated", Fetch::Whole),
        &["org/gated", "HF_HUB_OFFLINE"],
    );
    fetch_model(&right, "org/gated", Fetch::Whole).unwrap();

    let gone = HubSettings {
        endpoint: "http://127.0.0.1:1".into(),
        ..right
    };
    says(
        fetch_model(&gone, "org/other", Fetch::Whole),
        &["org/other", "http://127.0.0.1:1"],
    );
}

#[test]
fn incomplete_repositories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mock = serving(&[("org/m", dir.path())]);
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &["org/m", "no config.json"],
    );
    let adapter = golden("tiny-llama/adapter/adapter_config.json");
    fs::copy(&adapter, dir.path().join("adapter_config.json")).unwrap();
    let fetch_it = "is a PEFT adapter; fetch it with `hf download org/m --local-dir DIR`";
    says(fetch_model(&hub, "org/m", Fetch::Whole), &[fetch_it]);
    let tied = golden("tiny-llama/tied");
    fs::copy(tied.join("config.json"), dir.path().join("config.json")).unwrap();
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &["org/m", "no tokenizer.json"],
    );
    fs::copy(
        tied.join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &["org/m", "no safetensors"],
    );
}

#[test]
fn the_environment_is_read() {
    let hub = |vars: &[(&str, &str)]| {
        let vars: HashMap<_, _> = vars.iter().copied().collect();
        HubSettings::from_vars(|name| vars.get(name).map(|v| v.to_string()))
    };
    let home = tempfile::tempdir().unwrap();
    let at = home.path().to_str().unwrap();
    let plain = hub(&[("HOME", at)]).unwrap();
    assert_eq!(plain.endpoint, "https://huggingface.co");
    assert_eq!(plain.cache_dir, home.path().join(".cache/huggingface/hub"));
    assert_eq!((plain.token, plain.offline), (None, false));
    fs::write(home.path().join("token"), "from-file\n").unwrap();
    let set = hub(&[
        ("HF_HOME", at),
        ("HF_ENDPOINT", "http://mirror/"),
        ("HF_HUB_OFFLINE", "1"),
    ])
    .unwrap();
    assert_eq!(set.endpoint, "http://mirror");
    assert_eq!(set.cache_dir, home.path().join("hub"));
    assert_eq!(
        (set.token.as_deref(), set.offline),
        (Some("from-file"), true)
    );
    let set = hub(&[
        ("HF_HOME", at),
        ("HF_TOKEN", "t"),
        ("HF_HUB_CACHE", "/c"),
        ("HF_ENDPOINT", ""),
    ])
    .unwrap();
    assert_eq!(set.token.as_deref(), Some("t"));
    assert_eq!(
        (set.cache_dir, set.endpoint.as_str()),
        ("/c".into(), "https://huggingface.co")
    );
    let error = hub(&[]).unwrap_err().to_string();
    assert!(error.contains("HF_HOME"), "{error}");
}
