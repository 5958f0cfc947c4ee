//! The judge: what counts as a verdict, and how errors of the endpoint are handled. The endpoint is
//! a local server.

use super::judge_server::{JudgeServer, KEY, Play};
use evaluate::fastchat::{Answer, Choice, Question, QuestionId};
use evaluate::judge::{Judge, JudgeConfig, Secret, Total, judge_with, markdown};
use serde_json::{Value, json};
use std::time::Duration;

fn question(id: u64) -> Question {
    Question {
        id: QuestionId::Number(id),
        category: "generic".into(),
        turns: vec![format!("Question {id}?")],
        reference: Vec::new(),
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

    drop(judge);

    // The second time everything is cached; another judge model is asked again.
    let mut again = Judge::open(server.config(), &cache).unwrap();
    let total = again
        .rate(&questions[..2], &answers("m", &[1, 2]), &mut || {})
        .unwrap();
    assert_eq!((total.sum, total.mean()), (9.5, Some(4.75)));
    assert_eq!((again.asked, again.cached, server.n_requests()), (0, 2, 2));
    drop(again);
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
    assert_eq!(server.n_requests(), 3, "it is asked once more");
    let reasons: Vec<_> = judge.failures.iter().collect();
    assert_eq!(
        reasons,
        [(&"the reply has no clear verdict".to_string(), &1)]
    );
}

#[test]
fn without_any_verdict_there_is_no_total() {
    let dir = tempfile::tempdir().unwrap();
    let questions = [question(1), question(2)];
    let rows = [
        ("first".to_string(), answers("first", &[1, 2])),
        ("second".to_string(), answers("second", &[1, 2])),
    ];
    #[track_caller]
    fn fails(
        dir: &std::path::Path,
        questions: &[Question],
        rows: &[(String, Vec<Answer>)],
        play: impl Fn(&str, usize) -> Play + Send + 'static,
        expected: &str,
    ) {
        let server = JudgeServer::new(play);
        let cache = dir.join(format!("{}.jsonl", expected.len()));
        let mut judge = Judge::open(server.config(), &cache).unwrap();
        let error = judge_with(&mut judge, questions, rows, 1).unwrap_err();
        let error = run::one_line(&error);
        assert!(error.contains(expected), "{error}");
    }
    fails(
        dir.path(),
        &questions,
        &rows,
        |_, _| Play::Say("no idea"),
        "gave no verdict at all on 8 requests: 8 x the reply has no clear verdict",
    );
    fails(
        dir.path(),
        &questions,
        &rows,
        |_, _| Play::Reject("no"),
        "8 x HTTP 400: \"no\"",
    );
    fails(
        dir.path(),
        &questions,
        &rows,
        |user, _| match user.contains("ANSWER A") || user.contains("first says") {
            true => Play::Say("[[C]] [[5]]"),
            false => Play::Say("?"),
        },
        "the judge rated none of the 2 answers of second",
    );
    fails(
        dir.path(),
        &questions,
        &rows,
        |user, _| match user.contains("first says") && user.contains("second says") {
            true => Play::Say("?"),
            false => Play::Say("[[5]]"),
        },
        "the judge decided no pair of second and first",
    );
    fails(
        dir.path(),
        &[question(7)],
        &rows,
        |_, _| Play::Say("[[5]]"),
        "first answers none of the questions",
    );
}

#[test]
fn a_judge_that_refuses_a_parameter_is_asked_in_another_way() {
    #[track_caller]
    fn check(accepts: fn(&Value) -> bool, n_refused: usize) {
        let dir = tempfile::tempdir().unwrap();
        let server = JudgeServer::strict(move |body, _, _| match accepts(body) {
            true => Play::Say("[[7]]"),
            false => Play::Reject("unsupported parameter"),
        });
        let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
        let total = rate(&mut judge, 3).unwrap();
        assert_eq!((total.sum, total.judged), (21.0, 3));
        // What was accepted once is used from then on.
        assert_eq!(server.n_requests(), 3 + n_refused);
    }
    check(|_| true, 0);
    check(|body| body.get("max_tokens").is_none(), 1);
    check(
        |body| body.get("max_tokens").is_none() && body.get("temperature").is_none(),
        2,
    );
    check(
        |body| body.get("temperature").is_none() && body.get("max_tokens").is_some(),
        3,
    );
    check(
        |body| {
            ["temperature", "max_tokens", "max_completion_tokens"]
                .iter()
                .all(|key| body.get(key).is_none())
        },
        4,
    );
}

#[test]
fn a_key_that_a_judge_quotes_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("verdicts.jsonl");
    let server = JudgeServer::new(|_, _| Play::Quote);
    let mut judge = Judge::open(server.config(), &cache).unwrap();
    assert_eq!(rate(&mut judge, 1).unwrap().sum, 4.0);
    let text = std::fs::read_to_string(&cache).unwrap();
    assert!(text.contains("You sent") && !text.contains(KEY), "{text}");
    // A key that is a word of the protocol breaks no reply.
    let config = JudgeConfig {
        key: Some(Secret::new("content")),
        ..server.config()
    };
    let mut judge = Judge::open(config, &dir.path().join("other.jsonl")).unwrap();
    assert_eq!(rate(&mut judge, 1).unwrap().sum, 4.0);
}

#[test]
fn the_content_of_a_message_may_be_a_list_of_parts() {
    #[track_caller]
    fn check(message: Value, expected: Option<f64>) {
        let dir = tempfile::tempdir().unwrap();
        let shown = message.to_string();
        let server = JudgeServer::new(move |_, _| Play::Message(message.clone()));
        let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
        let total = rate(&mut judge, 1).unwrap();
        assert_eq!(total.ratings.first().map(|(_, r)| *r), expected, "{shown}");
    }
    let text = |text: &str| json!({"type": "text", "text": text});
    check(
        json!({"content": [text("Good.\n"), text("Rating: [[4]]")]}),
        Some(4.0),
    );
    check(json!({"content": null, "reasoning_content": "[[3]]"}), None);
    check(json!({"content": 7}), None);
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
