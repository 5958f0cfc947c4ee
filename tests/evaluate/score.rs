//! `wick score` against values computed by hand.

use super::world::{World, refused};
use crate::common::plain_logits;
use evaluate::{ScoreConfig, ScoreReport, score};
use serde_json::{Value, json};

#[test]
fn a_policy_is_scored_by_its_loss_per_response_token() {
    let world = World::new();
    world.sft("sft", 1);
    let rows = json!([
        {"instruction": "Copy this list: pine shirt.", "input": "", "output": "The word is owl."},
        {"instruction": "Reverse these words: palm house.", "input": "", "output": "House palm."},
        {"instruction": "Copy this list:", "input": "word ".repeat(200), "output": "No."},
    ]);
    let data = world.write("data.json", &rows.to_string());
    let out = world.path("scores.jsonl");
    let config = ScoreConfig {
        out: Some(out.clone()),
        batch_tokens: 40,
        ..ScoreConfig::new(&world.text("sft"), &data)
    };
    let ScoreReport::Demonstrations(report) = score(&config).unwrap() else {
        panic!("not a policy's scores")
    };
    assert_eq!((report.rows, report.left_out), (2, 1));
    assert!((report.perplexity - report.loss.exp()).abs() < 1e-9);

    // By hand: the softmax over the vocabulary, row by row.
    let policy = world.policy(&world.text("sft"));
    let items = data::demonstrations(&data, data::Format::Auto)
        .unwrap()
        .items;
    let (mut nll, mut tokens) = (Vec::new(), Vec::new());
    for item in &items[..2] {
        let example = policy
            .encoder
            .example(&item.prompt, &item.response)
            .unwrap();
        let n = example.ids.len();
        let layout = ops::Ragged::from_lens(&[n]);
        let hidden = policy
            .model()
            .hidden(&example.ids, &layout, policy.adapter.as_ref(), None)
            .unwrap();
        let logits = plain_logits(policy.model(), &hidden);
        let logits = logits.to_vec2::<f32>().unwrap();
        let loss = |at: usize| {
            let row = &logits[at - 1];
            let sum: f64 = row.iter().map(|l| f64::from(*l).exp()).sum();
            sum.ln() - f64::from(row[example.ids[at] as usize])
        };
        nll.push((example.prompt_len..n).map(loss).sum::<f64>());
        tokens.push(n - example.prompt_len);
    }
    assert_eq!(report.tokens, tokens[0] + tokens[1]);
    assert!(
        (report.loss - (nll[0] + nll[1]) / report.tokens as f64).abs() < 1e-4,
        "{report:?}"
    );
    let rows: Vec<Value> = evaluate::jsonl::read(&out).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1]["row"], &rows[1]["tokens"]),
        (&json!(2), &json!(tokens[1]))
    );
    assert!((rows[1]["loss"].as_f64().unwrap() - nll[1] / tokens[1] as f64).abs() < 1e-4);
    refused(score(&config), "scores.jsonl exists");
    refused(
        score(&ScoreConfig {
            max_rows: Some(0),
            ..ScoreConfig::new(&world.text("sft"), &data)
        }),
        "--max-rows 0",
    );
    refused(
        score(&ScoreConfig {
            out: None,
            data: world.path("no.json"),
            ..config
        }),
        "no.json",
    );
}

#[test]
fn a_reward_model_is_scored_against_the_length_rule() {
    let world = World::new();
    world.reward("rm");
    let pair = |chosen: &str, rejected: &str| json!({"prompt": "Copy this list: pine shirt.", "chosen": chosen, "rejected": rejected});
    let pairs = [
        pair("The word is owl.", "Owl."),
        pair("Owl.", "The word is owl."),
        pair("The word is pine.", "The word is shirt."),
        pair("House palm owl boot cello.", "Owl."),
        pair("Owl.", &"word ".repeat(200)),
    ];
    let text: String = pairs.iter().map(|p| format!("{p}\n")).collect();
    let data = world.write("pairs.jsonl", &text);
    let out = world.path("scores.jsonl");
    let config = ScoreConfig {
        out: Some(out.clone()),
        ..ScoreConfig::new(&world.text("rm"), &data)
    };
    let ScoreReport::Pairs(report) = score(&config).unwrap() else {
        panic!("not a reward model's scores")
    };
    let rows: Vec<Value> = evaluate::jsonl::read(&out).unwrap();
    let margins: Vec<f64> = rows.iter().map(|r| r["margin"].as_f64().unwrap()).collect();
    // Rows 1 and 2 mirror each other; in row 3 both answers have the same length, which counts
    // half.
    assert!(
        (margins[0] + margins[1]).abs() < 1e-5 && margins[0].abs() > 1e-4,
        "{margins:?}"
    );
    let accuracy = margins.iter().filter(|m| **m > 0.0).count() as f64 / 4.0;
    assert!((report.accuracy.mean - accuracy).abs() < 1e-12);
    assert_eq!(report.longer_wins_accuracy, (1.0 + 0.0 + 0.5 + 1.0) / 4.0);
    assert!((report.margin_mean - margins.iter().sum::<f64>() / 4.0).abs() < 1e-9);
    // The four pairs are of one prompt, so there is one trial.
    assert_eq!((report.pairs, report.prompts, report.left_out), (4, 1, 1));
    assert!(
        report.accuracy.high - report.accuracy.low > 0.5,
        "{report:?}"
    );
    assert!(
        ScoreReport::Pairs(report)
            .to_string()
            .contains("the longer wins       0.6250")
    );
}
