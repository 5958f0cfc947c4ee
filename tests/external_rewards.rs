//! Programs and servers as sources of reward: good ones, and all the ways to be bad. Programs are `sh` scripts.

use rewards::external::{Program, RetryPolicy};
use rewards::{Item, Mixture, SourceConfig};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `sh -c script`.
fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).to_vec()
}

fn patience(millis: u64, retries: usize) -> RetryPolicy {
    RetryPolicy {
        timeout: Duration::from_millis(millis),
        retries,
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Asks for the reply's `answer`.
fn ask(program: &mut Program) -> rewards::Result<u64> {
    program.call(&map(json!({"question": "?"})), |reply| {
        let answer = reply.get("answer").and_then(Value::as_u64);
        answer.ok_or_else(|| "there is no answer".to_string())
    })
}

/// The program's own message when a call fails in the end, after `retries`.
#[track_caller]
fn fails(script: &str, patience: RetryPolicy) -> String {
    let mut program = Program::start(&sh(script), patience).unwrap();
    let message = ask(&mut program).expect_err(script).to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    let times = format!("failed {} times; the last time ", patience.retries + 1);
    assert!(message.contains(&times), "{message}");
    message
}

/// A program that counts its requests and answers the count; each start leaves a line in `starts`.
fn counting(dir: &Path) -> String {
    let starts = dir.join("starts");
    format!(
        "echo start >> {}; n=0; while read -r line; do echo \"{{\\\"id\\\": ${{line#*:}}\" | \
         sed \"s/,.*/, \\\"answer\\\": $n}}/\"; n=$((n+1)); done",
        starts.display()
    )
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn a_program_is_started_once_and_answers_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(&sh(&counting(dir.path())), patience(5000, 0)).unwrap();
    for n in 0..5 {
        assert_eq!(ask(&mut program).unwrap(), n);
    }
    assert_eq!(lines(&dir.path().join("starts")), 1);
}

#[test]
fn a_program_is_asked_again_until_it_answers() {
    // dies at the first start, is silent at the second, talks nonsense at the third
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "n=$(ls {0} | wc -l); touch {0}/$n; case $n in 0) exit 3;; 1) sleep 60;; 2) echo nonsense; sleep 60;; esac; {1}",
        dir.path().join("").display(),
        counting(tempfile::tempdir().unwrap().keep().as_path()),
    );
    let mut program = Program::start(&sh(&script), patience(3000, 3)).unwrap();
    assert_eq!(ask(&mut program).unwrap(), 0);
    assert_eq!(ask(&mut program).unwrap(), 1, "and goes on");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn what_a_bad_program_did_is_said() {
    let soon = patience(300, 1);
    let long = patience(20_000, 1);
    let message = fails("read -r line; exit 3", long);
    assert!(message.contains("it ended (exit status: 3)"), "{message}");
    assert!(message.starts_with("the program `sh -c read"), "{message}");
    let message = fails("kill -9 $$", long);
    assert!(message.contains("it ended (signal: 9"), "{message}");
    let message = fails("read -r line; echo the score is 3; cat > /dev/null", long);
    assert!(
        message.contains("it wrote \"the score is 3\", which is no JSON object"),
        "{message}"
    );
    let message = fails("echo '[1, 2]'; cat > /dev/null", long);
    assert!(message.contains("which is no JSON object"), "{message}");
    let message = fails("printf '{\"id\": 0, \"answ'", long);
    assert!(message.contains("which is no JSON object"), "{message}");
    let message = fails("echo '{\"id\": 7, \"answer\": 1}'; cat > /dev/null", long);
    assert!(
        message.contains("it answered id 7, asked was 1"),
        "{message}"
    );
    let message = fails("echo '{\"answer\": 1}'; cat > /dev/null", long);
    assert!(message.contains("its answer has no id"), "{message}");
    let message = fails(
        "read -r l; n=${l#*:}; echo \"{\\\"id\\\": ${n%%,*}}\"; cat > /dev/null",
        long,
    );
    assert!(message.contains("there is no answer"), "{message}");
    let message = fails("exec sleep 60", soon);
    assert!(
        message.contains("it gave no answer within 0.3 s"),
        "{message}"
    );
    let message = fails("exec >&-; exec sleep 60", long);
    assert!(message.contains("closed its standard output"), "{message}");
}

#[test]
fn a_program_that_reads_nothing_holds_nobody_up() {
    let mut program = Program::start(&sh("exec sleep 60"), patience(300, 0)).unwrap();
    let request = map(json!({"long": "x".repeat(1 << 20)}));
    let begun = Instant::now();
    let answer: rewards::Result<()> = program.call(&request, |_| Ok(()));
    assert!(answer.is_err());
    drop(program);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it was not waited for"
    );
}

#[test]
fn what_a_killed_program_had_started_is_killed_too() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let mut program = Program::start(&sh(&script), patience(3000, 0)).unwrap();
    assert!(ask(&mut program).is_err());
    let pid = std::fs::read_to_string(pid).unwrap();
    let status = Path::new("/proc").join(pid.trim()).join("status");
    let running = |status: &Path| {
        std::fs::read_to_string(status).is_ok_and(|text| !text.contains("State:\tZ"))
    };
    let begun = Instant::now();
    while running(&status) && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!running(&status), "a child of the program still runs");
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_once() {
    let command = ["no-such-program".to_string()];
    let error = match Program::start(&command, patience(100, 5)) {
        Ok(_) => panic!("it was started"),
        Err(error) => error.to_string(),
    };
    assert!(
        error.contains("the program `no-such-program` cannot be started"),
        "{error}"
    );
}

#[test]
fn a_program_ends_when_its_input_does() {
    let dir = tempfile::tempdir().unwrap();
    let end = dir.path().join("end");
    let script = format!(
        "read -r line; echo '{{\"id\": 0, \"answer\": 5}}'; cat > /dev/null; touch {}",
        end.display()
    );
    let mut program = Program::start(&sh(&script), patience(20_000, 0)).unwrap();
    assert_eq!(ask(&mut program).unwrap(), 5);
    drop(program);
    assert!(end.exists(), "it was given the time to end by itself");
}

/// Answers each item with the number of its place, by awk: items are counted by their "response" keys.
const GOOD: &str = r#"while read -r line; do printf "%s\n" "$line" | awk '{
  id = $0; sub(/^{"id":/, "", id); sub(/,.*/, "", id); n = gsub(/"response":/, "")
  s = ""; for (i = 0; i < n; i++) s = s (i ? "," : "") i "." id
  print "{\"id\":" id ",\"scores\":[" s "]}" }'; done"#;

fn mixture(entry: Value) -> rewards::Result<Mixture> {
    let table: toml::Table = serde_json::from_value(entry).unwrap();
    Mixture::open(&[SourceConfig::try_from(table).unwrap()], None)
}

fn process(script: &str, sets: Value) -> rewards::Result<Mixture> {
    let mut entry =
        json!({"kind": "process", "command": sh(script), "timeout_secs": 20.0, "retries": 1});
    entry.as_object_mut().unwrap().extend(map(sets));
    mixture(entry)
}

fn items(n: usize) -> Vec<Item<'static>> {
    let item = Item {
        prompt: "Say \"x\".",
        response: "x\n",
        reference: Some("x"),
        ids: &[1, 2],
        n_response_tokens: 1,
    };
    vec![item; n]
}

fn score(mixture: &mut Mixture, n: usize) -> rewards::Result<Vec<f32>> {
    Ok(mixture.score(&crate::rewards::model(1), &items(n))?.total)
}

#[test]
fn a_process_scores_in_batches() {
    let mut mixture = process(GOOD, json!({"batch_size": 2})).unwrap();
    assert_eq!(score(&mut mixture, 5).unwrap(), [0.0, 1.0, 0.1, 1.1, 0.2]);
    assert_eq!(score(&mut mixture, 1).unwrap(), [0.3]);
    assert!(score(&mut mixture, 0).unwrap().is_empty());
}

#[test]
fn a_process_sees_prompt_response_and_reference() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("request");
    let script = format!(
        "read -r line; printf %s \"$line\" > {}; echo '{{\"id\":0,\"scores\":[1,-2.5e0]}}'; cat > /dev/null",
        file.display()
    );
    let mut mixture = process(&script, json!({})).unwrap();
    assert_eq!(score(&mut mixture, 2).unwrap(), [1.0, -2.5]);
    let request: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let item = json!({"prompt": "Say \"x\".", "response": "x\n", "reference": "x"});
    assert_eq!(request, json!({"id": 0, "items": [item, item]}));
}

#[test]
fn a_process_that_lies_about_its_scores_is_refused() {
    #[track_caller]
    fn check(scores: &str, says: &str) {
        let script = format!(
            "read -r l; n=${{l#*:}}; printf '{{\"id\":%s,%s}}\\n' \"${{n%%,*}}\" '{scores}'; cat > /dev/null"
        );
        let mut mixture = process(&script, json!({})).unwrap();
        let error = score(&mut mixture, 2).unwrap_err().to_string();
        assert!(
            error.starts_with("reward process: the program `sh"),
            "{error}"
        );
        assert!(error.contains("failed 2 times; the last time"), "{error}");
        assert!(error.contains(says), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    check("\"scores\":[1]", "it answered 1 scores for 2 items");
    check("\"scores\":[1,2,3]", "it answered 3 scores for 2 items");
    check("\"scores\":[1,NaN]", "which is no JSON object");
    check("\"scores\":[1,1e999]", "which is no JSON object");
    check(
        "\"scores\":[1,1e300]",
        "score 2 is 1e+300, not a finite number",
    );
    check(
        "\"scores\":[null,1]",
        "score 1 is null, not a finite number",
    );
    check(
        "\"scores\":[\"1\",1]",
        "score 1 is \"1\", not a finite number",
    );
    check("\"scores\":1", "its answer has no list `scores`");
    check("\"error\":\"no model\"", "its answer has no list `scores`");
}

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
fn a_server_is_asked_again_until_it_answers() {
    let server = Server::new(|nth, body| match nth {
        0 => Some((503, "later".into())),
        1 => Some((200, "{\"scores\": [1]}".into())),
        _ => halves(body),
    });
    assert_eq!(score(&mut server.mixture(json!({})), 3).unwrap(), [0.5; 3]);
    assert_eq!(server.n_requests(), 3);
}

#[test]
fn what_a_bad_server_did_is_said() {
    #[track_caller]
    fn check(reply: Option<(u16, &'static str)>, n_requests: usize, says: &str) {
        let server = Server::new(move |_, _| reply.map(|(status, text)| (status, text.into())));
        let key = std::env::var("CARGO_PKG_NAME").unwrap();
        let timeout = if reply.is_none() { 0.3 } else { 20.0 };
        let sets = json!({"timeout_secs": timeout, "key_env": "CARGO_PKG_NAME"});
        let error = score(&mut server.mixture(sets), 2).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(
            error.starts_with("reward http: the server http://127.0.0.1:"),
            "{error}"
        );
        assert!(!error.contains(&key[..6]), "{error}");
        assert_eq!(error.lines().count(), 1);
        assert_eq!(server.n_requests(), n_requests, "{says}");
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
    // the key stands across the end of what is shown
    let long = format!("{}wick-tests", ".".repeat(194)).leak();
    check(Some((400, long)), 1, "HTTP 400: ......");
    check(Some((400, "what?")), 1, "HTTP 400: what?");
    check(Some((200, "[0.5, 0.5]")), 3, "its answer is no JSON object");
    check(Some((200, "nonsense")), 3, "the reply is no JSON");
    check(
        Some((200, "{\"scores\":[1]}")),
        3,
        "it answered 1 scores for 2 items",
    );
    check(
        Some((200, "{\"scores\":[NaN,1]}")),
        3,
        "the reply is no JSON",
    );
}

#[test]
fn a_server_that_is_not_there_is_said_to_be_unreachable() {
    let mut mixture = {
        let server = Server::new(|_, _| None);
        server.mixture(json!({"retries": 1}))
    };
    let error = score(&mut mixture, 1).unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}
