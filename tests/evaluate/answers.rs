//! `wick answers`: reproducible, resumable; a question without room for an answer is reported.

use super::world::{World, refused};
use evaluate::fastchat::{self, QuestionId};
use evaluate::{AnswersConfig, answers};
use std::path::{Path, PathBuf};

/// A world with a policy, and its question file.
fn with_run() -> (World, PathBuf) {
    let world = World::new();
    world.sft("sft", 1);
    let questions = world.questions();
    (world, questions)
}

/// Short answers of that policy.
fn short(world: &World, questions: &Path, out: &str, batch: usize) -> AnswersConfig {
    AnswersConfig {
        max_new_tokens: 10,
        batch,
        ..AnswersConfig::new(&world.text("sft"), questions, &world.path(out))
    }
}

#[test]
fn without_answers_there_is_no_sum_of_grades() {
    let (world, questions) = with_run();
    let text = std::fs::read_to_string(questions).unwrap();
    let too_long = world.write("long.jsonl", text.lines().nth(2).unwrap());
    let report = answers(&short(&world, &too_long, "c.jsonl", 1)).unwrap();
    assert_eq!((report.answered, report.oracle), (0, None));
    assert_eq!(report.too_long, [QuestionId::Number(3)]);
}

#[test]
fn answers_are_sampled_resumed_and_reproducible() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    let report = answers(&config("a.jsonl", 16)).unwrap();
    assert_eq!(
        (report.model_id.as_str(), report.already, report.answered),
        ("sft", 0, 2)
    );
    assert_eq!(report.too_long, [QuestionId::Number(3)]);
    assert_eq!(
        report.oracle.map(|sum| (2.0..=20.0).contains(&sum)),
        Some(true)
    );
    let first = fastchat::answers(&world.path("a.jsonl")).unwrap();
    assert_eq!(
        first.iter().map(|a| &a.question_id).collect::<Vec<_>>(),
        [&QuestionId::Number(1), &QuestionId::Number(2)]
    );
    assert!(
        first
            .iter()
            .all(|a| a.model_id == "sft" && a.turns().len() == 1 && a.tstamp > 1.6e9)
    );

    // The same answers with batches of one, and after a kill in the middle of a line.
    let text = std::fs::read_to_string(world.path("a.jsonl")).unwrap();
    let half = text.len() - 20;
    world.write("b.jsonl", &text[..half]);
    let report = answers(&config("b.jsonl", 1)).unwrap();
    assert_eq!((report.already, report.answered), (1, 1));
    let second = fastchat::answers(&world.path("b.jsonl")).unwrap();
    let what = |answers: &[fastchat::Answer]| {
        answers
            .iter()
            .map(|a| (a.answer_id.clone(), a.turns().to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(what(&second), what(&first));
    let report = answers(&config("b.jsonl", 4)).unwrap();
    assert_eq!((report.already, report.answered), (2, 0));
    assert_eq!(fastchat::answers(&world.path("b.jsonl")).unwrap(), second);
}

#[test]
fn existing_answers_must_be_of_the_same_model_and_settings() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    answers(&config("a.jsonl", 16)).unwrap();
    let before = std::fs::read(world.path("a.jsonl")).unwrap();
    refused(
        answers(&AnswersConfig {
            seed: 2,
            ..config("a.jsonl", 4)
        }),
        "was answered with other weights or settings",
    );
    refused(
        answers(&AnswersConfig {
            temperature: Some(0.3),
            ..config("a.jsonl", 4)
        }),
        "other weights or settings",
    );
    refused(
        answers(&AnswersConfig {
            model_id: Some("m".into()),
            ..config("a.jsonl", 4)
        }),
        "has answers of sft, not of m",
    );
    assert_eq!(std::fs::read(world.path("a.jsonl")).unwrap(), before);
}

#[test]
fn greedy_answers_ignore_category_and_seed() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    let greedy = |out: &str, seed| {
        answers(&AnswersConfig {
            greedy: true,
            seed,
            ..config(out, 2)
        })
        .unwrap();
        fastchat::answers(&world.path(out))
            .unwrap()
            .iter()
            .map(|a| a.turns().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(greedy("g1.jsonl", 1), greedy("g2.jsonl", 2));
}

#[test]
fn a_plain_model_answers_several_turns() {
    let world = World::new();
    let questions = world.write(
        "q.jsonl",
        "{\"question_id\": \"x\", \"turns\": [\"Copy this list: pine shirt.\", \"Again.\"]}\n",
    );
    let out = world.path("a.jsonl");
    let config = AnswersConfig {
        max_new_tokens: 4,
        model_id: Some("base".into()),
        ..AnswersConfig::new(&world.text("base"), &questions, &out)
    };
    let report = answers(&config).unwrap();
    assert_eq!((report.answered, report.oracle), (1, None));
    assert_eq!(fastchat::answers(&out).unwrap()[0].turns().len(), 2);
}

#[test]
fn bad_input_of_answers_is_refused_before_anything_is_written() {
    let world = World::new();
    world.sft("sft", 1);
    world.reward("rm");
    let questions = world.questions();
    let out = world.path("out.jsonl");
    let config = |run: &str| AnswersConfig::new(run, &questions, &out);
    refused(answers(&config(&world.text("nothing"))), "nothing");
    refused(
        answers(&config(&world.text("rm"))),
        "is a reward model, not a policy",
    );
    refused(
        answers(&AnswersConfig {
            questions: Some(world.path("none.jsonl")),
            ..config(&world.text("sft"))
        }),
        "none.jsonl",
    );
    refused(
        answers(&AnswersConfig {
            out: Some(world.path("sft")),
            ..config(&world.text("sft"))
        }),
        "is a directory",
    );
    refused(
        answers(&AnswersConfig {
            out: Some(world.path("no/out.jsonl")),
            ..config(&world.text("sft"))
        }),
        "does not exist",
    );
    refused(
        answers(&AnswersConfig {
            batch: 0,
            ..config(&world.text("sft"))
        }),
        "--batch 0",
    );
    refused(
        answers(&AnswersConfig {
            temperature: Some(-1.0),
            ..config(&world.text("sft"))
        }),
        "--temperature -1",
    );
    assert!(!out.exists());
}

#[test]
fn a_wrong_question_file_is_named_in_one_line() {
    let world = World::new();
    let questions = world.questions();
    let out = world.path("out.jsonl");
    let config = || AnswersConfig::new(&world.text("base"), &questions, &out);
    for (text, expected) in [
        (
            "[{\"body\": \"x\"}]",
            "row 1: fields body fit no known format",
        ),
        (
            "[{\"body\": \"x\"}]",
            "answers needs FastChat questions, or prompts",
        ),
        (
            "{\"question_id\": 1, \"body\": \"x\"}",
            "no field text or turns",
        ),
        ("not JSON", "is not JSON"),
        ("", "is empty"),
    ] {
        refused(
            answers(&AnswersConfig {
                questions: Some(world.write("wrong.json", text)),
                ..config()
            }),
            expected,
        );
    }
    for (prompt, questions, expected) in [
        (vec![" ".to_string()], None, "--prompt is empty"),
        (
            vec!["x".to_string()],
            Some(questions.clone()),
            "give one of them",
        ),
        (vec![], None, "give --questions FILE or --prompt TEXT"),
    ] {
        refused(
            answers(&AnswersConfig {
                prompt,
                questions,
                ..config()
            }),
            expected,
        );
    }
    refused(
        answers(&AnswersConfig {
            out: None,
            ..config()
        }),
        "--out FILE is missing",
    );
    assert!(!out.exists());
}

#[test]
fn any_file_of_prompts_is_answered_in_its_order_with_its_ids() {
    #[track_caller]
    fn check(world: &World, text: &str, ids: &[QuestionId], grades: Option<f64>) {
        let questions = world.write("prompts.jsonl", text);
        let out = world.path("prompts-answers.jsonl");
        let _ = std::fs::remove_file(&out);
        let config = AnswersConfig {
            max_new_tokens: 4,
            ..AnswersConfig::new(&world.text("base"), &questions, &out)
        };
        let report = answers(&config).unwrap();
        assert_eq!(report.answered, ids.len());
        assert_eq!(report.oracle.is_some(), grades.is_some(), "{text}");
        let answered = fastchat::answers(&out).unwrap();
        let found: Vec<_> = answered.into_iter().map(|a| a.question_id).collect();
        assert_eq!(found, ids, "{text}");
    }
    let world = World::new();
    let number = QuestionId::Number;
    let word = |text: &str| QuestionId::Text(text.into());
    // Alpaca, with a repeated row and one without a question: the row's number is its id.
    let row =
        "{\"instruction\": \"Copy this list:\", \"input\": \"pine shirt.\", \"output\": \"\"}\n";
    let empty = "{\"instruction\": \"\", \"input\": \"\", \"output\": \"\"}\n";
    let text = format!("{row}{empty}{row}");
    check(&world, &text, &[number(1), number(3)], None);
    let known = "{\"instruction\": \"Copy this list: pine shirt.\", \"output\": \"\"}\n";
    check(&world, known, &[number(1)], Some(1.0));
    // Conversations and prompts with ids of their own, which are kept.
    let chat = |id: &str| {
        let turns = "[{\"role\": \"user\", \"content\": \"One.\"}, {\"role\": \"assistant\", \"content\": \"Two.\"}]";
        format!("{{\"id\": {id}, \"messages\": {turns}}}\n")
    };
    let text = chat("\"b\"") + &chat("\"a\"");
    check(&world, &text, &[word("b"), word("a")], None);
    // Repeated ids tell nothing apart, and neither do some rows' alone.
    check(
        &world,
        &(chat("7") + &chat("7")),
        &[number(1), number(2)],
        None,
    );
    let text = chat("7") + &chat("null");
    check(&world, &text, &[number(1), number(2)], None);
}

#[test]
fn prompts_of_the_command_line_are_answered_without_a_file() {
    let world = World::new();
    let config = AnswersConfig {
        questions: None,
        out: None,
        prompt: vec!["Copy this list: pine shirt.".into(), "word ".repeat(200)],
        max_new_tokens: 4,
        greedy: true,
        ..AnswersConfig::new(&world.text("base"), Path::new(""), Path::new(""))
    };
    let report = answers(&config).unwrap();
    let [Some(answer), None] = &report.printed[..] else {
        panic!("{:?}", report.printed)
    };
    // The same answer as from a file.
    let questions = world.write(
        "q.jsonl",
        "{\"question_id\": 1, \"text\": \"Copy this list: pine shirt.\"}\n",
    );
    let out = world.path("a.jsonl");
    let from_file = AnswersConfig {
        questions: Some(questions),
        out: Some(out.clone()),
        prompt: Vec::new(),
        ..config
    };
    answers(&from_file).unwrap();
    assert_eq!(&fastchat::answers(&out).unwrap()[0].turns()[0], answer);
}

#[test]
fn answers_of_two_models_never_mix() {
    let (world, questions) = with_run();
    let config = |run: &str, out: &str| AnswersConfig {
        max_new_tokens: 4,
        model_id: Some("m".into()),
        ..AnswersConfig::new(&world.text(run), &questions, &world.path(out))
    };
    #[track_caller]
    fn is_another(config: &AnswersConfig) {
        refused(
            answers(config),
            "was answered with other weights or settings",
        );
    }
    // An adapter that is scaled otherwise, under its old name.
    answers(&config("sft", "a.jsonl")).unwrap();
    let settings = world.path("sft/adapter/adapter_config.json");
    let text = std::fs::read_to_string(&settings).unwrap();
    let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
    changed["lora_alpha"] = serde_json::json!(3.0 * changed["lora_alpha"].as_f64().unwrap());
    std::fs::write(&settings, changed.to_string()).unwrap();
    run::write_sums(&world.path("sft/adapter")).unwrap();
    is_another(&config("sft", "a.jsonl"));
    std::fs::write(&settings, text).unwrap();
    run::write_sums(&world.path("sft/adapter")).unwrap();
    assert_eq!(answers(&config("sft", "a.jsonl")).unwrap().answered, 0);
    // A plain model that is replaced.
    answers(&config("base", "b.jsonl")).unwrap();
    let weights = world.path("base/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    is_another(&config("base", "b.jsonl"));
}

#[test]
fn two_processes_do_not_answer_into_one_file() {
    let (world, questions) = with_run();
    let config = short(&world, &questions, "a.jsonl", 16);
    let (held, _) =
        evaluate::jsonl::Appender::open::<fastchat::Answer>(&world.path("a.jsonl")).unwrap();
    refused(answers(&config), "is being written by another process");
    drop(held);
    let report = answers(&config).unwrap();
    // A file with every line twice, as older versions could write it.
    let text = std::fs::read_to_string(world.path("a.jsonl")).unwrap();
    world.write("a.jsonl", &text.repeat(2));
    let again = answers(&config).unwrap();
    assert_eq!((again.already, again.answered), (2, 0));
    assert_eq!(again.oracle, report.oracle, "each question counts once");
}
