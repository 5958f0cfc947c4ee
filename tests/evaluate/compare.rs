//! `wick compare`.

use super::judge_server::{JudgeServer, Play};
use super::world::{CONTEXT, World, refused};
use evaluate::judge::JudgeConfig;
use evaluate::{CompareConfig, CompareReport, Metric, compare, compare_with};
use serde_json::Value;

#[test]
fn runs_are_compared_on_the_same_prompts() {
    let world = World::new();
    world.sft("sft", 1);
    world.reward("rm");
    world.rl("esrl", 2, "sft", "rm");
    world.rl("same", 1, "sft", "rm");
    let out = world.path("compare");
    let runs = [world.text("sft"), world.text("esrl"), world.text("same")];
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let report = compare(&CompareConfig::new(&runs, &out)).unwrap();
    // Prompts, reward and sampling come from the first RL run.
    assert_eq!(
        (report.prompts, report.temperature, report.max_new_tokens),
        (3, 0.8, 12)
    );
    assert_eq!(report.reward.as_ref().unwrap().name, "rm");
    let [sft, esrl, same] = &report.rows[..] else {
        panic!("{} rows", report.rows.len())
    };
    assert_eq!(
        (
            sft.name.as_str(),
            esrl.algorithm.as_deref(),
            esrl.samples_drawn
        ),
        ("sft", Some("esrl"), Some(40.0))
    );
    assert!(sft.kl_exact.is_none() && sft.reward_wins.is_none());
    // A run with the weights of the first gives the same answers: equal rewards, no KL, only ties.
    assert_eq!(same.reward, sft.reward);
    let wins = same.reward_wins.unwrap();
    assert_eq!((wins.wins, wins.ties, wins.losses), (0, 3, 0));
    assert!(same.kl_exact.unwrap().mean.abs() < 1e-5 && same.kl_k1.unwrap().mean.abs() < 1e-4);
    assert!(esrl.kl_exact.unwrap().mean > 1e-3);
    let (raw, normalised, note) = (
        esrl.reward.unwrap(),
        esrl.reward_normalised.unwrap(),
        report.reward.as_ref().unwrap(),
    );
    assert!(
        (normalised.mean - (raw.mean - note.mean) / note.std).abs()
            < 1e-3 * normalised.mean.abs().max(1.0)
    );
    assert!(
        esrl.oracle.unwrap().mean >= 1.0
            && esrl.wall_hours.is_some()
            && esrl.peak_memory_gb.is_some()
    );
    assert!(esrl.length_tokens.mean <= 12.0 && (0.0..=1.0).contains(&esrl.eos_rate));

    let written: Value =
        serde_json::from_slice(&std::fs::read(out.join("compare.json")).unwrap()).unwrap();
    assert_eq!(written["rows"][1]["name"], "esrl");
    let table = std::fs::read_to_string(out.join("compare.md")).unwrap();
    assert_eq!(table, report.markdown());
    check_table(&table);
    assert!(!table.contains("judge"));
    let lines: Vec<Value> = evaluate::jsonl::read(&out.join("responses.jsonl")).unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[0]["answers"]["sft"]["text"],
        lines[0]["answers"]["same"]["text"]
    );
    check_pairs(&report, &lines);
    // The same call gives the same numbers.
    let again = compare(&CompareConfig::new(&runs, &world.path("again"))).unwrap();
    assert_eq!(
        serde_json::to_value(&again.rows).unwrap(),
        serde_json::to_value(&report.rows).unwrap()
    );
}

/// It has the columns, and fits a terminal.
#[track_caller]
fn check_table(table: &str) {
    for heading in [
        "| run ",
        "reward minus sft's",
        "reward, normalised",
        "wins against sft by reward",
        "oracle (1-10)",
        "KL exact",
        "peak GB",
    ] {
        assert!(table.contains(heading), "{heading} is not in\n{table}");
    }
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

/// The responses have plain prompts, and the differences are those of the paired rewards.
#[track_caller]
fn check_pairs(report: &CompareReport, lines: &[Value]) {
    let asked: Vec<&str> = lines.iter().filter_map(|l| l["prompt"].as_str()).collect();
    let expected = [
        "Copy this list: cello boot.",
        "Reverse these words: palm house.",
        "Copy this list: pine shirt.",
    ];
    assert_eq!(asked, expected);
    let reward = |l: &Value, run: &str| l["answers"][run]["reward"].as_f64().unwrap();
    let differences = lines.iter().map(|l| reward(l, "esrl") - reward(l, "sft"));
    let mean = differences.sum::<f64>() / 3.0;
    let [sft, esrl, same] = &report.rows[..] else {
        panic!("{} rows", report.rows.len())
    };
    assert!((esrl.reward_difference.unwrap().mean - mean).abs() < 1e-6);
    assert_eq!(same.reward_difference.unwrap().mean, 0.0);
    assert!(sft.reward_difference.is_none() && esrl.oracle_difference.is_some());
    // All three tie: no difference was seen, but three prompts prove little.
    let rate = same.reward_wins.unwrap().rate;
    assert!(rate.low < 0.2 && rate.high > 0.8, "{rate:?}");
}

#[test]
fn bad_input_of_compare_is_refused() {
    let world = World::new();
    world.sft("sft", 1);
    world.reward("rm");
    let sft = world.text("sft");
    let config = |runs: &[&str]| CompareConfig::new(runs, &world.path("out"));
    refused(compare(&config(&[&sft])), "give --prompts FILE");
    refused(compare(&config(&[&sft, &sft])), "given twice");
    refused(
        compare(&config(&[&sft, &world.text("missing")])),
        "missing does not exist; give a run directory",
    );
    refused(
        compare(&config(&[&world.text("rm")])),
        "is a reward model; pass it as --reward",
    );
    let prompts = world.write("prompts.json", "[{\"instruction\": \"Copy this list: pine shirt.\", \"input\": \"\", \"output\": \"Owl.\"}]");
    let with_prompts = |runs: &[&str]| CompareConfig {
        prompts: Some(prompts.clone()),
        max_new_tokens: Some(5),
        ..config(runs)
    };
    refused(
        compare(&CompareConfig {
            reward: Some(world.path("sft")),
            ..with_prompts(&[&sft])
        }),
        "is a run of sft",
    );
    refused(
        compare(&CompareConfig {
            max_new_tokens: Some(CONTEXT),
            ..with_prompts(&[&sft])
        }),
        "lower --max-new-tokens",
    );
    refused(
        compare(&CompareConfig {
            out: prompts.clone(),
            ..with_prompts(&[&sft])
        }),
        "is a file",
    );
    refused(
        compare(&CompareConfig {
            n: 0,
            ..with_prompts(&[&sft])
        }),
        "--n 0",
    );
    assert!(!world.path("out").exists());
    // Without a reward model there is no reward; the rest is reported.
    let report = compare(&with_prompts(&[&sft])).unwrap();
    assert!(
        report.rows[0].reward.is_none()
            && report.reward.is_none()
            && report.rows[0].oracle.is_some()
    );
}

#[test]
fn an_unreachable_judge_fails_the_comparison_with_one_line() {
    let world = World::new();
    world.sft("sft", 1);
    let prompts = world.write("prompts.json", "[{\"instruction\": \"Copy this list: pine shirt.\", \"input\": \"\", \"output\": \"Owl.\"}]");
    let config = CompareConfig {
        prompts: Some(prompts),
        max_new_tokens: Some(5),
        judge_max_new_tokens: 5,
        judge_questions: Some(world.questions()),
        ..CompareConfig::new(&[&world.text("sft")], &world.path("out"))
    };
    // Nothing listens on port 1 of this machine.
    let judge = JudgeConfig {
        retries: 0,
        ..JudgeConfig::new("http://127.0.0.1:1/v1", "m", None)
    };
    refused(compare_with(&config, Some(judge)), "cannot be reached");
    assert!(!world.path("out/compare.md").exists());
}

#[test]
fn a_judge_adds_its_columns() {
    let world = World::new();
    world.sft("sft", 1);
    world.sft("other", 2);
    let prompts = world.write("prompts.json", "[{\"instruction\": \"Copy this list: pine shirt.\", \"input\": \"\", \"output\": \"Pine.\"}]");
    let runs = [world.text("sft"), world.text("other")];
    let config = CompareConfig {
        prompts: Some(prompts),
        max_new_tokens: Some(5),
        judge_max_new_tokens: 5,
        judge_questions: Some(world.questions()),
        ..CompareConfig::new(&[&runs[0], &runs[1]], &world.path("out"))
    };
    let server = JudgeServer::new(|user, _| {
        Play::Say(if user.contains("ANSWER A") {
            "[[C]]"
        } else {
            "[[4]]"
        })
    });
    let report = compare_with(&config, Some(server.config())).unwrap();
    let judged = report.judge.as_ref().unwrap();
    let total = &judged.rows[0].total;
    // The third question does not fit the context, so it has no answer and no score.
    assert_eq!(
        (total.sum, total.out_of, total.judged, total.missing),
        (8.0, 30.0, 2, 1)
    );
    let pairs = judged.rows[1].pairs.as_ref().unwrap();
    assert_eq!(
        (pairs.wins.unwrap().ties, pairs.order_decided, pairs.failed),
        (2, 0, 0)
    );
    let table = report.markdown();
    assert!(
        table.contains("| judge  ") && table.contains("| 8 / 30 (1 not judged) |"),
        "{table}"
    );
    // A second call samples nothing and sends no request.
    let asked = server.n_requests();
    let again = CompareConfig {
        force: true,
        ..config
    };
    compare_with(&again, Some(server.config())).unwrap();
    assert_eq!(server.n_requests(), asked);
}

#[test]
fn answers_are_compared_with_reference_answers() {
    let world = World::new();
    world.sft("sft", 1);
    world.rl("esrl", 2, "sft", "none");
    let rows = serde_json::json!([
        {"instruction": "Copy this list: pine shirt.", "input": "", "output": "The word is owl."},
        {"instruction": "Reverse these words: palm house.", "input": "", "output": "House palm owl boot."},
        {"instruction": "Copy this list: cello boot.", "input": "", "output": "word"},
    ]);
    let prompts = world.write("prompts.json", &rows.to_string());
    let runs = [world.text("sft"), world.text("esrl")];
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let out = world.path("metrics");
    let config = CompareConfig {
        prompts: Some(prompts),
        reward: None,
        metrics: vec![Metric::Bleu, Metric::RougeL],
        max_new_tokens: Some(12),
        ..CompareConfig::new(&runs[..1], &out)
    };
    let report = compare(&config).unwrap();
    let row = &report.rows[0];
    // Recomputed from the written responses, line by line.
    let lines: Vec<Value> = evaluate::jsonl::read(&out.join("responses.jsonl")).unwrap();
    let pair = |l: &Value| {
        let text = l["answers"]["sft"]["text"].as_str().unwrap().to_string();
        (text, l["reference"].as_str().unwrap().to_string())
    };
    let pairs: Vec<(String, String)> = lines.iter().map(pair).collect();
    assert_eq!(pairs[1].1, "House palm owl boot.");
    let corpus: Vec<(&str, [&str; 1])> = pairs
        .iter()
        .map(|(t, r)| (t.as_str(), [r.as_str()]))
        .collect();
    let slices: Vec<(&str, &[&str])> = corpus.iter().map(|(t, r)| (*t, &r[..])).collect();
    assert_eq!(row.corpus_bleu, Some(rewards::corpus_bleu(&slices)));
    for (i, (text, reference)) in corpus.iter().enumerate() {
        let answer = &lines[i]["answers"]["sft"];
        let bleu = rewards::sentence_bleu(text, reference, true);
        assert!((answer["bleu"].as_f64().unwrap() - bleu).abs() < 1e-9);
        let rouge = 100.0 * rewards::rouge_l(reference[0], text, false);
        assert!((answer["rouge_l"].as_f64().unwrap() - rouge).abs() < 1e-9);
    }
    let mean = |key: &str| {
        let values = lines
            .iter()
            .map(|l| l["answers"]["sft"][key].as_f64().unwrap());
        values.sum::<f64>() / lines.len() as f64
    };
    assert!((row.bleu.unwrap().mean - mean("bleu")).abs() < 1e-9);
    assert!((row.rouge_l.unwrap().mean - mean("rouge_l")).abs() < 1e-9);
    let table = report.markdown();
    for heading in ["| corpus BLEU ", "| sentence BLEU ", "| ROUGE-L "] {
        assert!(table.contains(heading), "{heading} is not in\n{table}");
    }
    // Prompts without reference answers are refused before sampling.
    let bare = CompareConfig {
        prompts: None,
        out: world.path("bare"),
        runs: runs.iter().map(|r| r.to_string()).collect(),
        ..config
    };
    refused(compare(&bare), "3 of the 3 prompts of");
    assert!(!world.path("bare").exists());
}
