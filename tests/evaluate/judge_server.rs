//! A local server in the judge's place, which may be careless or strict.

use evaluate::judge::{JudgeConfig, Secret};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Response, Server};

pub const KEY: &str = "sk-very-secret";

/// How the server handles a request.
pub enum Play {
    Say(&'static str),
    /// A message as a whole
    Message(Value),
    /// Quotes the key that it was sent, with a verdict
    Quote,
    Status(u16),
    /// HTTP 400
    Reject(&'static str),
    /// Accepts the connection and never replies.
    Hang,
}

pub struct JudgeServer {
    server: Arc<Server>,
    /// Bodies and authorisation headers of the requests so far.
    pub requests: Arc<Mutex<Vec<(Value, String)>>>,
    thread: Option<JoinHandle<()>>,
}

impl JudgeServer {
    /// `play` gets the user message and the number of earlier requests.
    pub fn new(play: impl Fn(&str, usize) -> Play + Send + 'static) -> Self {
        Self::strict(move |_, user, before| play(user, before))
    }

    /// `play` gets the whole request, too.
    pub fn strict(play: impl Fn(&Value, &str, usize) -> Play + Send + 'static) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (listening, seen) = (server.clone(), requests.clone());
        let thread = std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for mut request in listening.incoming_requests() {
                let mut body = String::new();
                request.as_reader().read_to_string(&mut body).unwrap();
                let body: Value = serde_json::from_str(&body).unwrap();
                let key = request
                    .headers()
                    .iter()
                    .find(|h| h.field.equiv("Authorization"));
                let key = key.map(|h| h.value.to_string()).unwrap_or_default();
                let user = body["messages"][1]["content"].as_str().unwrap().to_string();
                let before = seen.lock().unwrap().len();
                let played = play(&body, &user, before);
                seen.lock().unwrap().push((body, key.clone()));
                let say = |text: &str| json!({"role": "assistant", "content": text});
                let (status, message) = match played {
                    Play::Hang => {
                        hanging.push(request);
                        continue;
                    }
                    // A careless server that quotes the key in its reply.
                    Play::Status(code) => (code, format!("cannot serve {key}").into()),
                    Play::Reject(why) => (400, why.into()),
                    Play::Say(text) => (200, say(text)),
                    Play::Quote => (200, say(&format!("You sent {key}.\nRating: [[4]]"))),
                    Play::Message(message) => (200, message),
                };
                let text = match status {
                    200 => json!({ "choices": [{ "message": message }] }).to_string(),
                    _ => message.to_string(),
                };
                let reply = Response::from_string(text).with_status_code(status);
                request.respond(reply).unwrap();
            }
        });
        Self {
            server,
            requests,
            thread: Some(thread),
        }
    }

    pub fn config(&self) -> JudgeConfig {
        let url = format!("http://{}/v1", self.server.server_addr());
        JudgeConfig {
            timeout: Duration::from_millis(300),
            retries: 2,
            backoff: Duration::from_millis(1),
            deadline: Duration::from_secs(5),
            ..JudgeConfig::new(&url, "model-j", Some(Secret::new(KEY)))
        }
    }

    pub fn n_requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for JudgeServer {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().unwrap().join().unwrap();
    }
}
