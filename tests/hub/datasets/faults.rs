//! A hub that refuses, is busy, breaks off or is no hub.

use super::{CONVERTED, World, get, paths, says};
use hub::HubSettings;
use std::fs;
use testkit::{Fault, Reply};

fn answers(code: u16) -> Fault {
    Fault::Answer(Reply::new(code, "no"))
}

#[test]
fn refusals_are_one_line_that_says_what_to_do() {
    let world = World::with(&[("train.jsonl", "")]);
    let page = format!("{}/datasets/org/d", world.mock.endpoint());
    let gated = |code| Fault::Answer(Reply::new(code, "").with("x-error-code", "GatedRepo"));
    for (fault, parts) in [
        (
            answers(401),
            [
                "answers 401: the data set does not exist, or it is private",
                "set HF_TOKEN",
            ],
        ),
        (
            answers(403),
            ["answers 403: the data set is gated; accept", page.as_str()],
        ),
        (
            gated(401),
            [
                "answers 401: the data set is gated; accept its conditions at",
                &page,
            ],
        ),
        (
            answers(404),
            ["answers 404: no such data set org/d", "revision main"],
        ),
        (
            answers(400),
            ["answers 400", "revision refs/convert/parquet"],
        ),
    ] {
        world.mock.fail("/api/datasets", 1, fault);
        // without a revision the parquet branch is asked for, and may be missing
        let spec = if parts[1] == "revision main" {
            "hub:org/d@main"
        } else {
            "hub:org/d"
        };
        says(world.get(spec), &parts);
    }
    // a hub that does not say what is missing
    world.mock.fail("revision/refs", 1, answers(404));
    world.mock.fail("HEAD /datasets", 1, answers(410));
    says(world.get("hub:org/d"), &["answers 410", "train.jsonl"]);
    says(
        world.get("hub:org/d@v9"),
        &["hub:org/d@v9: http", "answers 404: no revision v9"],
    );
    says(
        world.get("hub:org/none"),
        &["hub:org/none: http", "no such data set org/none"],
    );
    // the list is open, the file is not
    world.mock.fail("HEAD /datasets", 1, gated(403));
    says(
        world.get("hub:org/d"),
        &["answers 403: the data set is gated", &page],
    );
    world.mock.fail("HEAD /datasets", 1, answers(404));
    says(world.get("hub:org/d"), &["answers 404", "train.jsonl"]);
    assert_eq!(paths(&world.get("hub:org/d").unwrap()), ["train.jsonl"]);
}

#[test]
fn a_token_is_sent_to_the_hub_alone_and_never_printed() {
    let world = World::with(&[("train.parquet", "")]);
    world.mock.require_token("hf_secret");
    world.mock.use_store();
    says(
        world.get("hub:org/d"),
        &["401", "the data set is gated", "HF_TOKEN"],
    );
    let with = |token: &str| HubSettings {
        token: Some(token.into()),
        ..world.hub()
    };
    let wrong = get("hub:org/d", &with("hf_other")).unwrap_err().to_string();
    assert!(
        wrong.contains("HF_TOKEN may not read it") && !wrong.contains("hf_"),
        "{wrong}"
    );
    world.mock.take_asked();
    let found = get("hub:org/d", &with("hf_secret")).unwrap();
    assert_eq!(
        fs::read_to_string(&found.files[0]).unwrap(),
        "train.parquet"
    );
    let asked = world.mock.take_asked();
    let (stored, own): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.is_store);
    assert_eq!(stored.len(), 1, "the file is on the other host");
    assert!(stored.iter().all(|asked| asked.authorization.is_none()));
    let sent = Some("Bearer hf_secret".to_string());
    assert!(
        own.len() >= 5 && own.iter().all(|asked| asked.authorization == sent),
        "{own:?}"
    );
    // a redirect of the API to another host
    let elsewhere = World::with(&[("train.json", "")]);
    let to = format!(
        "{}/api/datasets/org/d/revision/main",
        elsewhere.mock.endpoint()
    );
    let redirect = Reply::new(302, "").with("location", to);
    world
        .mock
        .fail("/api/datasets/org/x", 1, Fault::Answer(redirect));
    let _ = get("hub:org/x@main", &with("hf_secret"));
    let asked = elsewhere.mock.take_asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
    // nor is a password in the endpoint printed
    let endpoint = world
        .mock
        .endpoint()
        .replace("http://", "http://me:hf_pass@");
    let hub = HubSettings {
        endpoint,
        ..with("hf_secret")
    };
    let error = get("hub:org/none", &hub).unwrap_err().to_string();
    assert!(
        !error.contains("hf_") && !format!("{hub:?}").contains("hf_"),
        "{error}"
    );
}

#[test]
fn a_busy_hub_is_asked_again_a_few_times() {
    let now = || Fault::Answer(Reply::new(429, "").with("retry-after", 0));
    for (line, fault) in [
        ("revision/refs", answers(503)),
        ("/tree/", answers(500)),
        ("HEAD /datasets", answers(502)),
        ("GET /datasets", answers(504)),
        ("/api/", now()),
        ("GET /datasets", now()),
        ("revision/main", Fault::CutOff(5)),
        ("/tree/", Fault::CutOff(5)),
    ] {
        let world = World::with(&[("train.jsonl", "")]);
        world.mock.fail(line, 4, fault.clone());
        assert_eq!(
            paths(&world.get("hub:org/d").unwrap()),
            ["train.jsonl"],
            "{line} {fault:?}"
        );
        let world = World::with(&[("train.jsonl", "")]);
        world.mock.fail(line, 5, fault);
        says(world.get("hub:org/d"), &["hub:org/d: "]);
    }
    let world = World::with(&[("train.jsonl", "")]);
    world.mock.fail("/api/", 5, answers(503));
    says(world.get("hub:org/d"), &["answers 503", "try again later"]);
    world.mock.take_asked();
    // an hour is the user's decision
    let long = Reply::new(429, "").with("retry-after", 3600);
    world.mock.fail("/api/", 1, Fault::Answer(long));
    says(
        world.get("hub:org/d"),
        &["429", "asks to wait 3600 s", "HF_TOKEN"],
    );
    assert_eq!(world.mock.take_asked().len(), 1);
    // so is a date that has passed
    let past = Reply::new(429, "").with("retry-after", "Thu, 01 Jan 2015 00:00:00 GMT");
    world.mock.fail("/api/", 4, Fault::Answer(past));
    assert_eq!(paths(&world.get("hub:org/d").unwrap()), ["train.jsonl"]);
}

#[test]
fn a_download_that_is_cut_off_goes_on_where_it_stopped() {
    let text = "0123456789".repeat(100);
    for has_store in [false, true] {
        let world = World::with(&[("train.parquet", &text)]);
        if has_store {
            world.mock.use_store();
        }
        // every try brings something: there may be many
        let line = if has_store {
            "GET /store"
        } else {
            "GET /datasets"
        };
        world.mock.fail(line, 9, Fault::CutOff(100));
        let found = world.get("hub:org/d").unwrap();
        assert_eq!(fs::read_to_string(&found.files[0]).unwrap(), text);
        let asked = world.mock.take_asked();
        let ranges = asked
            .iter()
            .filter(|a| a.is_store == has_store && a.method == "GET");
        let ranges: Vec<_> = ranges.filter_map(|asked| asked.range.clone()).collect();
        let wanted: Vec<_> = (0..10).map(|i| format!("bytes={}-", i * 100)).collect();
        assert_eq!(ranges, wanted);
    }
    // nothing comes: the next call goes on
    let world = World::with(&[("train.parquet", &text)]);
    world.mock.fail("GET /datasets", 1, Fault::CutOff(700));
    world.mock.fail("GET /datasets", 4, Fault::CutOff(0));
    says(
        world.get("hub:org/d"),
        &["train.parquet: after 700 of 1000 bytes", "run again"],
    );
    world.mock.take_asked();
    let found = world.get("hub:org/d").unwrap();
    assert_eq!(fs::read_to_string(&found.files[0]).unwrap(), text);
    let asked = world.mock.take_asked();
    let ranges: Vec<_> = asked
        .iter()
        .filter_map(|asked| asked.range.as_deref())
        .collect();
    assert_eq!(ranges, ["bytes=700-"]);
    // a server without ranges begins again
    let world = World::with(&[("train.parquet", &text)]);
    world.mock.fail("GET /datasets", 1, Fault::CutOff(300));
    world.mock.fail("GET /datasets", 1, Fault::IgnoresRange);
    let found = world.get("hub:org/d").unwrap();
    assert_eq!(fs::read_to_string(&found.files[0]).unwrap(), text);
}

#[test]
fn what_is_no_hub_is_named() {
    let page = || {
        Fault::Answer(Reply::new(200, "\n<!doctype html><html>").with("content-type", "text/html"))
    };
    let world = World::with(&[("train.jsonl", "")]);
    for (line, fault, parts) in [
        (
            "/api/",
            page(),
            ["the answer is a web page, not JSON", "HF_ENDPOINT"],
        ),
        (
            "/tree/",
            page(),
            ["list of files", "the answer is a web page, not JSON"],
        ),
        (
            "/api/",
            Fault::Answer(Reply::new(200, "{}")),
            ["not the JSON of a hub", "sha"],
        ),
        (
            "/api/",
            Fault::Answer(Reply::new(200, "{\"sha\": \"../x\"}")),
            ["its commit is", "../x"],
        ),
        (
            "HEAD ",
            page(),
            ["train.jsonl", "Header etag is missing, so this is no hub"],
        ),
        (
            "GET /datasets",
            Fault::Answer(Reply::new(
                200,
                "<html>a page that is longer than the file</html>",
            )),
            [
                "train.jsonl: the hub sends more than the 11 bytes",
                "nothing was kept",
            ],
        ),
        (
            "GET /datasets",
            Fault::Answer(Reply::new(206, "abc").with("content-range", "bytes 5-8/11")),
            ["bytes 5-8/11", "the bytes from 0 on were asked for"],
        ),
    ] {
        world.mock.fail(line, 1, fault);
        says(world.get("hub:org/d"), &parts);
    }
    let gone = HubSettings {
        endpoint: "http://127.0.0.1:1".into(),
        ..world.hub()
    };
    says(
        get("hub:org/d", &gone),
        &[
            "cannot be fetched from http://127.0.0.1:1: ",
            "HF_HUB_OFFLINE=1",
        ],
    );
    let loops = Reply::new(302, "").with("location", "/api/datasets/org/d/revision/main");
    world.mock.fail("/api/", 20, Fault::Answer(loops));
    says(world.get("hub:org/d"), &["more than 10 redirects"]);
}

#[test]
fn lengths_and_the_disk_are_checked() {
    let world = World::with(&[("train.jsonl", ""), ("train-2.jsonl", "")]);
    // longer than declared, shorter, and right
    world.mock.declare("train.jsonl", 5);
    says(
        world.get("hub:org/d"),
        &["train.jsonl: the hub sends more than the 5 bytes"],
    );
    world.mock.declare("train.jsonl", 20);
    says(
        world.get("hub:org/d"),
        &["train.jsonl: the hub sent 11 of 20 bytes; run again"],
    );
    world.mock.declare_truth();
    assert_eq!(world.get("hub:org/d").unwrap().files.len(), 2);
    // the sum of all files is asked for before the first is fetched
    let world = World::with(&[("train.jsonl", "")]);
    let huge = |path| {
        let n = 1u64 << 59;
        serde_json::json!({"type": "file", "path": path, "oid": "0", "size": n})
    };
    let list = serde_json::json!([huge("train-1.jsonl"), huge("train-2.jsonl")]);
    world
        .mock
        .fail("/tree/", 1, Fault::Answer(Reply::json(list)));
    says(
        world.get("hub:org/d"),
        &["2 files: needs 1152921504607 MB", "are free"],
    );
    assert!(
        world
            .mock
            .take_asked()
            .iter()
            .all(|asked| asked.method == "GET")
    );
    // names that would leave the cache
    for path in ["../../../escape.jsonl", "/etc/escape.jsonl", "a/./b.jsonl"] {
        let world = World::with(&[("train.jsonl", "")]);
        let list = serde_json::json!([{"type": "file", "path": path, "oid": "0", "size": 1}]);
        world
            .mock
            .fail("/tree/", 1, Fault::Answer(Reply::json(list)));
        says(
            world.get("hub:org/d"),
            &["list of files", path, "no path in a repository"],
        );
    }
    assert!(
        !world
            .mock
            .take_asked()
            .iter()
            .any(|asked| asked.target.contains(CONVERTED))
    );
}

#[test]
fn answers_that_unpack_to_much_are_refused() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..17 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = Reply::new(200, gzip.finish().unwrap()).with("content-encoding", "gzip");
    let world = World::with(&[("train.jsonl", "")]);
    for line in ["revision/main", "/tree/"] {
        world.mock.fail(line, 1, Fault::Answer(packed.clone()));
        says(world.get("hub:org/d"), &["the answer has more than 16 MiB"]);
    }
}
