//! The source `http`: what it sends, its retries, and that its key is written nowhere.

use super::{map, mixture, score};
use rewards::Mixture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the server does with its nth request; the body is checked to be a list of items.
struct Server {
    server: Arc<tiny_http::Server>,
    seen: Arc<Mutex<Vec<(Value, String)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `play` gives status and body; None: silence.
    fn new(play: impl Fn(usize, &Value) -> Option<(u16, String)> + Send + 'static) -> Self {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (listening, requests) = (server.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut request in listening.incoming_requests() {
                let body: Value = serde_json::from_reader(request.as_reader()).unwrap();
                let headers = request.headers().iter();
                let key = headers.filter(|h| h.field.equiv("Authorization"));
                let key: String = key.map(|h| h.value.to_string()).collect();
                let nth = requests.lock().unwrap().len();
                let reply = play(nth, &body);
                requests.lock().unwrap().push((body, key));
                match reply {
                    None => silent.push(request),
                    Some((status, text)) => {
                        let reply = tiny_http::Response::from_string(text);
                        request.respond(reply.with_status_code(status)).unwrap();
                    }
                }
            }
        });
        Self {
            server,
            seen,
            thread: Some(thread),
        }
    }

    fn mixture(&self, sets: Value) -> Mixture {
        let url = format!("http://{}/score", self.server.server_addr());
        let mut entry = json!({"kind": "http", "url": url, "timeout_secs": 20.0, "retries": 2, "backoff_secs": 0.001});
        entry.as_object_mut().unwrap().extend(map(sets));
        mixture(entry).unwrap()
    }

    fn n_requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// 0.5 for each item.
fn halves(body: &Value) -> Option<(u16, String)> {
    let n = body["items"].as_array().unwrap().len();
    Some((200, json!({"scores": vec![0.5; n]}).to_string()))
}

#[test]
fn a_server_scores_in_batches_and_gets_the_key() {
    let server = Server::new(|_, body| halves(body));
    let mut mixture = server.mixture(json!({"batch_size": 2, "key_env": "CARGO_PKG_NAME"}));
    assert_eq!(score(&mut mixture, 5).unwrap(), [0.5; 5]);
    assert_eq!(server.n_requests(), 3);
    let seen = server.seen.lock().unwrap();
    let (body, key) = &seen[2];
    let item = json!({"prompt": "Say \"x\".", "response": "x\n", "reference": "x"});
    assert_eq!(body, &json!({"id": 2, "items": [item]}));
    let expected = std::env::var("CARGO_PKG_NAME").unwrap();
    assert_eq!(key, &format!("Bearer {expected}"));
}

#[test]
fn a_key_is_in_no_file_of_a_run() {
    let key = std::env::var("CARGO_PKG_NAME").unwrap();
    let server = Server::new(|_, body| halves(body));
    let world = crate::pipeline::world::World::with_reward();
    let url = format!("http://{}/score", server.server.server_addr());
    let rewards = format!("rewards=[{{kind=\"http\",url=\"{url}\",key_env=\"CARGO_PKG_NAME\"}}]");
    world
        .rl_by("run", &format!("algorithm.name=rloo {rewards}"))
        .unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].1, format!("Bearer {key}"));
    let (mut folders, mut n_files) = (vec![world.path("run")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            n_files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(key.len()).any(|part| part == key.as_bytes());
            assert!(!found, "{} has the key", path.display());
        }
    }
    assert!(n_files > 10, "{n_files}");
}

#[test]
fn a_failing_server_is_asked_again() {
    let server = Server::new(|nth, body| match nth {
        0 => Some((503, "later".into())),
        1 => Some((200, "{\"scores\": [1]}".into())),
        _ => halves(body),
    });
    assert_eq!(score(&mut server.mixture(json!({})), 3).unwrap(), [0.5; 3]);
    assert_eq!(server.n_requests(), 3);
}

#[test]
fn the_error_says_what_a_server_did_wrong() {
    #[track_caller]
    fn check(reply: Option<(u16, &'static str)>, n_requests: usize, expected: &str) {
        let server = Server::new(move |_, _| reply.map(|(status, text)| (status, text.into())));
        let key = std::env::var("CARGO_PKG_NAME").unwrap();
        let timeout = if reply.is_none() { 0.3 } else { 20.0 };
        let sets = json!({"timeout_secs": timeout, "key_env": "CARGO_PKG_NAME"});
        let error = score(&mut server.mixture(sets), 2).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            error.starts_with("reward http: the server http://127.0.0.1:"),
            "{error}"
        );
        assert!(!error.contains(&key[..6]), "{error}");
        assert_eq!(error.lines().count(), 1);
        assert_eq!(server.n_requests(), n_requests, "{expected}");
    }
    check(None, 3, "gave no answer");
    check(
        Some((500, "broken\nby wick-tests")),
        3,
        "HTTP 500: broken by (key)",
    );
    check(
        Some((401, "who is wick-tests?")),
        1,
        "HTTP 401: who is (key)?",
    );
    // The key is cut by the end of what is shown.
    let long = format!("{}wick-tests", ".".repeat(194)).leak();
    check(Some((400, long)), 1, "HTTP 400: ......");
    check(Some((400, "what?")), 1, "HTTP 400: what?");
    check(
        Some((200, "[0.5, 0.5]")),
        3,
        "its answer is not a JSON object",
    );
    check(Some((200, "nonsense")), 3, "the reply is not JSON");
    check(
        Some((200, "{\"scores\":[1,2],\"scores\":[2,1]}")),
        3,
        "the reply has the key \"scores\" twice",
    );
    check(
        Some((200, "{\"scores\":[1]}")),
        3,
        "it answered 1 scores for 2 items",
    );
    check(
        Some((200, "{\"scores\":[NaN,1]}")),
        3,
        "score 1 is NaN, not a finite number",
    );
    check(
        Some((200, "{\"scores\":[1,\"1\"]}")),
        3,
        "score 2 is \"1\", not a finite number",
    );
    check(
        Some((200, "{\"scores\":[1,2,3]}")),
        3,
        "it answered 3 scores for 2 items",
    );
}

#[test]
fn a_missing_server_is_unreachable() {
    let mut mixture = {
        let server = Server::new(|_, _| None);
        server.mixture(json!({"retries": 1}))
    };
    let error = score(&mut mixture, 1).unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}
