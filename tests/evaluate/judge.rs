//! The judge: what counts as a verdict, and how errors of the endpoint are handled. The endpoint is
//! a local server.

use evaluate::fastchat::{Answer, Choice, Question, QuestionId};
use evaluate::judge::{
    Better, Judge, JudgeConfig, Secret, Total, better, judge_with, markdown, rating,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Response, Server};

const KEY: &str = "sk-very-secret";

/// How the server handles a request.
pub enum Play {
    Say(&'static str),
    Status(u16),
    /// Accepts the connection and never replies.
    Hang,
}

pub struct JudgeServer {
    server: Arc<Server>,
    /// Bodies and authorisation headers of the requests so far.
    requests: Arc<Mutex<Vec<(Value, String)>>>,
    thread: Option<JoinHandle<()>>,
}

impl JudgeServer {
    /// `play` gets the user message and the number of earlier requests.
    pub fn new(play: impl Fn(&str, usize) -> Play + Send + 'static) -> Self {
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
                let before = {
                    let mut seen = seen.lock().unwrap();
                    seen.push((body, key.clone()));
                    seen.len() - 1
                };
                match play(&user, before) {
                    Play::Hang => hanging.push(request),
                    // A careless server that quotes the key in its reply.
                    Play::Status(code) => {
                        let text = format!("cannot serve {key}");
                        request
                            .respond(Response::from_string(text).with_status_code(code))
                            .unwrap();
                    }
                    Play::Say(text) => {
                        let reply = json!({"choices": [{"message": {"role": "assistant", "content": text}}]});
                        request
                            .respond(Response::from_string(reply.to_string()))
                            .unwrap();
                    }
                }
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

fn question(id: u64) -> Question {
    Question {
        id: QuestionId::Number(id),
        category: "generic".into(),
        turns: vec![format!("Question {id}?")],
    }
}

fn answers(model: &str, ids: &[u64]) -> Vec<Answer> {
    let answer = |id: &u64| Answer {
        question_id: QuestionId::Number(*id),
        answer_id: format!("{model}-{id}"),
        model_id: model.into(),
        choices: vec![Choice {
            index: 0,
            turns: vec![format!("{model} says {id}")],
        }],
        tstamp: 0.0,
    };
    ids.iter().map(answer).collect()
}

/// The scores of the first `n` questions.
fn rate(judge: &mut Judge, n: u64) -> anyhow::Result<Total> {
    let ids: Vec<u64> = (1..=n).collect();
    let questions: Vec<Question> = ids.iter().map(|id| question(*id)).collect();
    judge.rate(&questions, &answers("m", &ids), &mut || {})
}

#[test]
fn a_rating_is_the_first_bracket_and_a_number_from_1_to_10() {
    #[track_caller]
    fn check(reply: &str, expected: Option<f64>) {
        assert_eq!(rating(reply), expected, "{reply:?}");
    }
    check("Rating: [[4]]", Some(4.0));
    check("Because.\n\nRating: [[ 8.5 ]] and then [[2]]", Some(8.5));
    check("[[10]]", Some(10.0));
    check("[[1]]", Some(1.0));
    check("[[0]]", None);
    check("[[11]]", None);
    check("[[11]] or rather [[5]]", None);
    check("[[-3]]", None);
    check("[[1e1]]", None);
    check("[[inf]]", None);
    check("[[NaN]]", None);
    check("[[7/10]]", None);
    check("[[]]", None);
    check("[[7", None);
    check("[7]", None);
    check("7", None);
    check("", None);
}

#[test]
fn a_choice_is_the_first_bracket_and_one_of_three() {
    #[track_caller]
    fn check(reply: &str, expected: Option<Better>) {
        assert_eq!(better(reply), expected, "{reply:?}");
    }
    check("So: [[A]]", Some(Better::A));
    check("[[B]] rather than [[A]]", Some(Better::B));
    check("[[C]]", Some(Better::C));
    check("[[a]]", None);
    check("[[D]]", None);
    check("[[AB]]", None);
    check("A", None);
}

#[test]
fn ratings_are_summed_and_verdicts_cached() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("verdicts.jsonl");
    let server = JudgeServer::new(|user, _| match user.contains("says 1\n") {
        true => Play::Say("Fine.\nRating: [[7]]"),
        false => Play::Say("Rating: [[2.5]]"),
    });
    let questions = [question(1), question(2), question(3)];
    let mut judge = Judge::open(server.config(), &cache).unwrap();
    let total = judge
        .rate(&questions, &answers("m", &[1, 2]), &mut || {})
        .unwrap();
    assert_eq!((total.sum, total.out_of), (9.5, 30.0));
    assert_eq!((total.judged, total.failed, total.missing), (2, 0, 1));
    assert_eq!(total.mean(), None, "a question is missing");
    assert_eq!(server.n_requests(), 2);
    {
        let requests = server.requests.lock().unwrap();
        let (body, key) = &requests[0];
        assert_eq!(key, &format!("Bearer {KEY}"));
        assert_eq!(
            (&body["model"], &body["temperature"]),
            (&json!("model-j"), &json!(0))
        );
        let user = body["messages"][1]["content"].as_str().unwrap();
        assert!(
            user.contains("Question 1?") && user.contains("m says 1"),
            "{user}"
        );
    }

    // The second time everything is cached; another judge model is asked again.
    let mut again = Judge::open(server.config(), &cache).unwrap();
    let total = again
        .rate(&questions[..2], &answers("m", &[1, 2]), &mut || {})
        .unwrap();
    assert_eq!((total.sum, total.mean()), (9.5, Some(4.75)));
    assert_eq!((again.asked, again.cached, server.n_requests()), (0, 2, 2));
    let other = JudgeConfig {
        model: "model-k".into(),
        ..server.config()
    };
    let mut other = Judge::open(other, &cache).unwrap();
    other
        .rate(&questions[..1], &answers("m", &[1]), &mut || {})
        .unwrap();
    assert_eq!((other.asked, server.n_requests()), (1, 3));
    let text = std::fs::read_to_string(&cache).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains(KEY));
}

#[test]
fn a_reply_without_a_verdict_is_a_failure_and_no_score() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("verdicts.jsonl");
    let server = JudgeServer::new(|user, _| match user.contains("says 1\n") {
        true => Play::Say("I would give it an 8, or [[eight]]."),
        false => Play::Say("[[6]]"),
    });
    let mut judge = Judge::open(server.config(), &cache).unwrap();
    let total = rate(&mut judge, 2).unwrap();
    assert_eq!((total.sum, total.judged, total.failed), (6.0, 1, 1));
    assert_eq!(total.mean(), None);
    assert_eq!(
        std::fs::read_to_string(&cache).unwrap().lines().count(),
        1,
        "failures are not kept"
    );
}

#[test]
fn a_server_error_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    let server = JudgeServer::new(|_, before| match before {
        0 => Play::Status(500),
        1 => Play::Status(429),
        _ => Play::Say("[[9]]"),
    });
    let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
    let total = rate(&mut judge, 1).unwrap();
    assert_eq!((total.sum, server.n_requests()), (9.0, 3));
}

#[test]
fn a_server_that_does_not_reply_fails_one_question() {
    let dir = tempfile::tempdir().unwrap();
    let server = JudgeServer::new(|user, _| match user.contains("says 1\n") {
        true => Play::Hang,
        false => Play::Say("[[5]]"),
    });
    let config = JudgeConfig {
        retries: 1,
        timeout: Duration::from_millis(100),
        ..server.config()
    };
    let mut judge = Judge::open(config, &dir.path().join("v.jsonl")).unwrap();
    let total = rate(&mut judge, 2).unwrap();
    assert_eq!((total.sum, total.judged, total.failed), (5.0, 1, 1));
    assert_eq!(server.n_requests(), 3);
}

#[test]
fn a_rejected_key_stops_the_judge_and_is_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let server = JudgeServer::new(|_, _| Play::Status(401));
    let config = server.config();
    assert!(!format!("{config:?}").contains(KEY));
    let mut judge = Judge::open(config, &dir.path().join("v.jsonl")).unwrap();
    let error = rate(&mut judge, 2).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("HTTP 401") && text.contains("WICK_JUDGE_KEY"),
        "{text}"
    );
    assert!(!text.contains(KEY), "{text}");
    assert_eq!(server.n_requests(), 1);
}

#[test]
fn an_address_without_a_server_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = {
        let server = JudgeServer::new(|_, _| Play::Hang);
        JudgeConfig {
            retries: 0,
            ..server.config()
        }
    };
    let mut judge = Judge::open(config, &dir.path().join("v.jsonl")).unwrap();
    let error = rate(&mut judge, 1).unwrap_err();
    assert!(
        format!("{error:#}").contains("cannot be reached"),
        "{error:#}"
    );
}

#[test]
fn pairs_are_won_only_in_both_orders() {
    let dir = tempfile::tempdir().unwrap();
    let questions = [question(1), question(2)];
    let rows = [
        ("first".to_string(), answers("first", &[1, 2])),
        ("second".to_string(), answers("second", &[1, 2])),
    ];
    let report = |server: &JudgeServer, file: &str| {
        let mut judge = Judge::open(server.config(), &dir.path().join(file)).unwrap();
        judge_with(&mut judge, &questions, &rows, 1).unwrap()
    };
    let pair = |user: &str| user.contains("ANSWER A");

    // A judge that always picks the first answer gives no wins.
    let biased =
        JudgeServer::new(move |user, _| Play::Say(if pair(user) { "[[A]]" } else { "[[5]]" }));
    let pairs = report(&biased, "biased.jsonl").rows[1]
        .pairs
        .clone()
        .unwrap();
    let wins = pairs.wins.unwrap();
    assert_eq!(
        (
            wins.wins,
            wins.ties,
            wins.losses,
            pairs.order_decided,
            pairs.failed
        ),
        (0, 2, 0, 2, 0)
    );
    assert_eq!(wins.rate.mean, 0.5);

    // `second` wins question 1 in both orders; question 2 gets no verdict in one order.
    let fair = JudgeServer::new(move |user, _| {
        let shown = user.find("second says").zip(user.find("first says"));
        Play::Say(match (pair(user), shown) {
            (false, _) => "[[5]]",
            (true, Some((second, first))) if user.contains("Question 1?") => match second < first {
                true => "[[A]]",
                false => "[[B]]",
            },
            (true, Some((second, first))) if second < first => "no idea",
            (true, _) => "[[B]]",
        })
    });
    let report = report(&fair, "fair.jsonl");
    let pairs = report.rows[1].pairs.clone().unwrap();
    let wins = pairs.wins.unwrap();
    assert_eq!(
        (wins.wins, wins.ties, wins.losses, pairs.failed),
        (1, 0, 0, 1)
    );
    assert!(report.rows[0].pairs.is_none());
    let table = markdown(&report);
    assert!(
        table.contains("| first | 10 / 20 | 5.00 | 2 | 0 | 0 | – |"),
        "{table}"
    );
    assert!(
        table.contains("| second | 10 / 20 | 5.00 | 2 | 0 | 0 | 1 / 0 / 0 (1) |"),
        "{table}"
    );
}
