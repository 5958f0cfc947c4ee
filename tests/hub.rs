//! Models from the hub, against a small local server that answers like the hub.

mod bounds;

use candle_core::{Device, Tensor};
use models::{Fetch, Hub, ModelMeta, ModelSource, WeightStorage};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use testkit::golden;
use tiny_http::{Header, Response, Server, StatusCode};

/// Serves the given directories as `org/name`, and records the requests.
struct FakeHub {
    server: Arc<Server>,
    asked: Arc<Mutex<Vec<String>>>,
    /// The revision of its repositories.
    commit: Arc<Mutex<String>>,
    /// The length that it declares for a file, where that is not the true one.
    declared: Arc<Mutex<HashMap<String, usize>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHub {
    fn new(repos: &[(&str, &Path)], token: Option<&str>) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let repos: HashMap<String, _> = repos
            .iter()
            .map(|(id, dir)| (id.to_string(), dir.to_path_buf()))
            .collect();
        let commit = Arc::new(Mutex::new("c0ffee".to_string()));
        let declared = Arc::new(Mutex::new(HashMap::new()));
        let (s, log, now) = (server.clone(), asked.clone(), commit.clone());
        let lengths = declared.clone();
        let wanted = token.map(|t| format!("Bearer {t}"));
        let thread = std::thread::spawn(move || {
            while let Ok(request) = s.recv() {
                let header = |name: &'static str| {
                    let mut headers = request.headers().iter();
                    let found = headers.find(|h| h.field.equiv(name));
                    found.map(|h| h.value.as_str().to_string())
                };
                let (range, auth) = (header("Range"), header("Authorization"));
                let url = request.url().to_string();
                log.lock().unwrap().push(url.clone());
                let reply = if wanted.is_some() && wanted != auth {
                    Response::from_data("no").with_status_code(401)
                } else {
                    let (commit, lengths) = (now.lock().unwrap(), lengths.lock().unwrap());
                    answer(&repos, &url, range.as_deref(), &commit, &lengths)
                };
                let _ = request.respond(reply);
            }
        });
        Self {
            server,
            asked,
            commit,
            declared,
            thread: Some(thread),
        }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            endpoint: format!("http://{}", self.server.server_addr()),
            token: None,
            cache_dir: cache.to_path_buf(),
            offline: false,
        }
    }

    /// The files requested since the last call.
    fn asked_for(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let name = |url: &String| Some(url.split_once("/resolve/main/")?.1.to_string());
        asked.iter().filter_map(name).collect()
    }

    fn n_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

type Reply = Response<std::io::Cursor<Vec<u8>>>;

fn answer(
    repos: &HashMap<String, std::path::PathBuf>,
    url: &str,
    range: Option<&str>,
    commit: &str,
    lengths: &HashMap<String, usize>,
) -> Reply {
    let none = || Response::from_data("not found").with_status_code(404);
    for (id, dir) in repos {
        if url == format!("/api/models/{id}/revision/main") {
            let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
            let files: Vec<_> = names
                .map(|n| serde_json::json!({"rfilename": n.to_str().unwrap()}))
                .collect();
            let info = serde_json::json!({"sha": commit, "siblings": files});
            return Response::from_data(info.to_string());
        }
        let Some(name) = url.strip_prefix(&format!("/{id}/resolve/main/")) else {
            continue;
        };
        let Ok(bytes) = fs::read(dir.join(name)) else {
            return none();
        };
        let (from, to) = range.unwrap()["bytes=".len()..].split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to: usize = to.parse().unwrap_or(bytes.len() - 1);
        let length = lengths.get(name).unwrap_or(&bytes.len()).to_owned();
        let header = |name: &str, value: String| Header::from_bytes(name, value).unwrap();
        return Response::from_data(&bytes[from..=to])
            .with_status_code(StatusCode(206))
            .with_header(header("etag", format!("\"{name}-{commit}\"")))
            .with_header(header("x-repo-commit", commit.into()))
            .with_header(header(
                "content-range",
                format!("bytes {from}-{to}/{length}"),
            ));
    }
    none()
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
    let fake = FakeHub::new(&[("org/one", &tied), ("org/shards", &untied)], None);
    let cache = tempfile::tempdir().unwrap();
    let hub = fake.hub(cache.path());
    for (id, original) in [("org/one", &tied), ("org/shards", &untied)] {
        let dir = hub.fetch(id, Fetch::Whole).unwrap();
        assert!(dir.starts_with(cache.path()));
        for ((name, found), (_, wanted)) in weights(&dir).iter().zip(weights(original)) {
            testkit::assert_close(name, found, &wanted, 0.0);
        }
        // the tokenizer's files came along
        let template = fs::read(original.join("chat_template.jinja")).unwrap();
        assert_eq!(fs::read(dir.join("chat_template.jinja")).unwrap(), template);
        let n = fake.n_asked();
        assert_eq!(hub.fetch(id, Fetch::Whole).unwrap(), dir);
        assert_eq!(fake.n_asked(), n, "a whole model in the cache asks nothing");
        let offline = Hub {
            offline: true,
            ..hub.clone()
        };
        assert_eq!(offline.fetch(id, Fetch::Whole).unwrap(), dir);
    }
    let asked = fake.asked.lock().unwrap().join(" ");
    assert!(!asked.contains("README"), "{asked}");

    // a shard that is missing from the cache is fetched again
    let dir = hub.fetch("org/shards", Fetch::Whole).unwrap();
    fs::remove_file(dir.join("model-00002-of-00003.safetensors")).unwrap();
    assert_eq!(hub.fetch("org/shards", Fetch::Whole).unwrap(), dir);
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
    let fake = FakeHub::new(&[("org/m", repo.path())], None);
    let cache = tempfile::tempdir().unwrap();
    let hub = fake.hub(cache.path());
    let meta = |fetch| ModelMeta::of_hub(&hub, "org/m", fetch).unwrap();

    let shape = meta(Fetch::Shape).weights(WeightStorage::Exact).unwrap();
    assert!(!shape.present);
    let asked = fake.asked_for();
    assert!(asked.contains(&"config.json".into()), "{asked:?}");
    assert!(
        !asked.iter().any(|name| name.contains("safetensors")),
        "{asked:?}"
    );
    // a run counts by the file itself
    let whole = meta(Fetch::Whole);
    // its length, then its bytes
    assert_eq!(fake.asked_for(), ["model.safetensors"; 2]);
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
    *fake.commit.lock().unwrap() = "facade".into();
    let old = hub.fetch("org/m", Fetch::Whole).unwrap();
    // config.json is missing from the cache, so the hub is asked
    fs::remove_file(old.join("config.json")).unwrap();
    let new = hub.fetch("org/m", Fetch::Whole).unwrap();
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
    let hub = fake.hub(cache.path());
    *fake.commit.lock().unwrap() = "c0ffee".into();
    let shape = hub.fetch("org/m", Fetch::Shape).unwrap();
    *fake.commit.lock().unwrap() = "facade".into();
    let whole = hub.fetch("org/m", Fetch::Whole).unwrap();
    assert_ne!(shape, whole);
    assert_eq!(weights(&whole).len(), was.len());
}

#[test]
fn errors_of_the_hub_are_one_line() {
    let tied = golden("tiny-llama/tied");
    let fake = FakeHub::new(&[("org/gated", &tied)], Some("secret"));
    let cache = tempfile::tempdir().unwrap();
    let hub = fake.hub(cache.path());
    says(
        hub.fetch("org/gated", Fetch::Whole),
        &["org/gated", "401", "HF_TOKEN"],
    );
    let wrong = Hub {
        token: Some("wrong".into()),
        ..hub.clone()
    };
    says(wrong.fetch("org/gated", Fetch::Whole), &["401"]);
    let right = Hub {
        token: Some("secret".into()),
        ..hub.clone()
    };
    says(
        right.fetch("org/nothing", Fetch::Whole),
        &["org/nothing", "404"],
    );
    let offline = Hub {
        offline: true,
        ..hub
    };
    says(
        offline.fetch("org/gated", Fetch::Whole),
        &["org/gated", "HF_HUB_OFFLINE"],
    );
    right.fetch("org/gated", Fetch::Whole).unwrap();

    let gone = Hub {
        endpoint: "http://127.0.0.1:1".into(),
        ..right
    };
    says(
        gone.fetch("org/other", Fetch::Whole),
        &["org/other", "http://127.0.0.1:1"],
    );
}

#[test]
fn incomplete_repositories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeHub::new(&[("org/m", dir.path())], None);
    let cache = tempfile::tempdir().unwrap();
    let hub = fake.hub(cache.path());
    says(
        hub.fetch("org/m", Fetch::Whole),
        &["org/m", "no config.json"],
    );
    let adapter = golden("tiny-llama/adapter/adapter_config.json");
    fs::copy(&adapter, dir.path().join("adapter_config.json")).unwrap();
    let fetch_it = "is a PEFT adapter; fetch it with `hf download org/m --local-dir DIR`";
    says(hub.fetch("org/m", Fetch::Whole), &[fetch_it]);
    let tied = golden("tiny-llama/tied");
    fs::copy(tied.join("config.json"), dir.path().join("config.json")).unwrap();
    says(
        hub.fetch("org/m", Fetch::Whole),
        &["org/m", "no tokenizer.json"],
    );
    fs::copy(
        tied.join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    says(
        hub.fetch("org/m", Fetch::Whole),
        &["org/m", "no safetensors"],
    );
}

#[test]
fn the_environment_is_read() {
    let hub = |vars: &[(&str, &str)]| {
        let vars: HashMap<_, _> = vars.iter().copied().collect();
        Hub::from_vars(|name| vars.get(name).map(|v| v.to_string()))
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
