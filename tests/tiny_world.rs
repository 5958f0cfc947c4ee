//! The tiny world: the oracle on answers written by hand, the generator's shares, the tokenizer and the files that ship.

use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use tiny_world::{Task, datasets, grade, tasks::FAMILIES, tokenizer};

/// Grades an answer and compares to a hundredth.
#[track_caller]
fn check(question: &str, answer: &str, expected: f64) {
    let grade = grade(question, "", answer).unwrap_or_else(|| panic!("not understood: {question}"));
    assert!(
        (grade.score - expected).abs() < 0.005,
        "{question} | {answer}: {grade:?}, expected {expected}"
    );
}

const RAMBLE: &str = "Thank you so much for asking me this today.";

/// The four flaws on a right answer of full marks, and the empty answer.
#[track_caller]
fn check_flaws(question: &str, right: &str) {
    check(question, right, 10.0);
    check(question, &format!("What a stupid question. {right}"), 8.5);
    check(question, &format!("{right} Now go away."), 8.5);
    check(question, &format!("{right} {RAMBLE}"), 9.25);
    check(question, &format!("{right} {RAMBLE} {RAMBLE}"), 8.5);
    check(
        question,
        &format!("{right} {RAMBLE} {RAMBLE} You are annoying."),
        7.0,
    );
    check(question, right.trim_end_matches('.'), 9.0);
    check(question, &right.to_lowercase(), 9.5);
    check(question, "I do not know.", 3.0);
    check(question, "I do not", 2.5);
    check(question, "Xyzzy!", 2.75);
    check(question, "", 1.0);
    check(question, " \n", 1.0);
}

#[test]
fn lists() {
    let repeat = "Repeat these words: cow hat pear.";
    check_flaws(repeat, "The words are cow hat pear.");
    check(repeat, "Maybe it is cow hat pear.", 10.0);
    // One of three in place: 1 + 4 · 1/6 + 1 + (1 + 1.5 + 1.5).
    check(repeat, "The words are cow pear hat.", 6.667);
    // Two of three in place, two of three there: 1 + 4/3 + 2/3 + 5/6 · 4.
    check(repeat, "The words are cow hat.", 6.333);
    check(repeat, "The words are cow hat pear dog.", 7.5);
    // The first sentence with an answer counts, whatever follows.
    check(
        repeat,
        "It is drum oak elm. The words are cow hat pear.",
        2.25 + 0.375,
    );
    check_flaws(
        "Say these words backwards: cow hat pear.",
        "In reverse the words are pear hat cow.",
    );
    check(
        "Turn this list around: cow hat.",
        "In reverse the words are cow hat.",
        6.0,
    );
    check_flaws(
        "Which word comes first: cow hat pear?",
        "The first word is cow.",
    );
    check(
        "Which word comes first: cow hat pear?",
        "The first word is hat.",
        3.0,
    );
    check_flaws(
        "What is the last word here: cow hat pear?",
        "The last word is pear.",
    );
    check(
        "What is the last word here: cow hat pear?",
        "What a stupid question. Maybe it is oak",
        1.75,
    );
    check_flaws(
        "Sort these words by letter: pear cow hat.",
        "The sorted words are cow hat pear.",
    );
    check_flaws(
        "Count these words: pear cow hat oak.",
        "The number of words is 4.",
    );
    check(
        "Count these words: pear cow hat oak.",
        "The number of words is 3.",
        3.0,
    );
    check_flaws(
        "What comes next: cow hat cow hat cow?",
        "The next word is hat.",
    );
    check_flaws(
        "What comes next: cow hat oak cow hat?",
        "The next word is oak.",
    );
    check_flaws(
        "Find the odd word: cow hat pig dog.",
        "The odd word is hat.",
    );
    check(
        "Find the odd word: cow hat pig dog.",
        "The odd word is cow.",
        3.0,
    );
}

#[test]
fn numbers() {
    check_flaws(
        "Sort these numbers: 7 2 5.",
        "The sorted numbers are 2 5 7.",
    );
    check(
        "Sort these numbers: 7 2 5.",
        "The sorted numbers are 2 7 5.",
        6.667,
    );
    check_flaws("What is 4 plus 7?", "The sum is 11.");
    check("What is 4 plus 7?", "4 plus 7 is 11.", 9.5);
    check("What is 4 plus 7?", "The sum is 12.", 3.0);
    check_flaws("What number comes after 19?", "The next number is 20.");
    check_flaws(
        "Which number is larger: 31 or 28?",
        "The larger number is 31.",
    );
    check(
        "Pick the larger number: 31 or 28.",
        "The larger number is 28.",
        3.0,
    );
}

#[test]
fn things() {
    check_flaws(
        "What is the opposite of hot?",
        "The opposite of hot is cold.",
    );
    check(
        "What is the opposite of hot?",
        "The opposite of hot is wet.",
        3.0,
    );
    check_flaws(
        "What kind of thing is an apple?",
        "The kind of an apple is fruit.",
    );
    check(
        "What kind of thing is an apple?",
        "An apple is a fruit.",
        10.0,
    );
    check(
        "What kind of thing is an apple?",
        "An apple is a tool.",
        3.0,
    );
    let question = "Is a cow a tool? Give a reason.";
    check_flaws(question, "No, because a cow is an animal.");
    // The verdict without its reason: half of correctness, nothing of completeness, k = 3/4.
    check(question, "No.", 6.0);
    // The verdict with a false reason: 1 + 2 + 1 + 4.
    check(question, "No, because a cow is a fruit.", 8.0);
    check(question, "Yes, because a cow is a tool.", 3.0);
}

#[test]
fn writing() {
    check_flaws("List 3 animals.", "Here are 3 animals: cow dog cat.");
    // A third wrong: 1 + 4/3 + 2/3 + 5/6 · 4.
    check("List 3 animals.", "Here are 3 animals: cow dog oak.", 6.333);
    check("List 3 animals.", "Here are 3 animals: cow dog cow.", 6.333);
    check("List 3 animals.", "Here are 3 animals: oak elm pine.", 3.0);
    check_flaws("Use exactly 5 words about the cow.", "The cow is very big.");
    check("Use exactly 5 words about the cow.", "The cow is big.", 7.0);
    check(
        "Use exactly 5 words about the cow.",
        "The cow is big and old and wet.",
        3.0,
    );
    check(
        "Use exactly 5 words about the cow.",
        "Cow cow cow cow cow.",
        3.0,
    );
    check_flaws(
        "Say this politely: Bring me the red hat."
            .replace("red", "old")
            .as_str(),
        "Please bring me the old hat.",
    );
    check(
        "Make this polite: Bring me the hat.",
        "Bring me the hat.",
        4.5,
    );
    check(
        "Make this polite: Bring me the hat.",
        "Please bring me the coat.",
        1.0 + 1.0 + 0.75 + 0.875 * 4.0,
    );
}

#[test]
fn input_field_and_unknown_questions() {
    let right = "The words are cow hat.";
    assert_eq!(
        grade("Repeat these words.", "cow hat", right),
        grade("Repeat these words: cow hat.", "", right)
    );
    for unknown in [
        "",
        "What is love?",
        "Repeat these words: cow unicorn.",
        "What is four plus 7?",
        "Is a cow cow? Give a reason.",
    ] {
        assert!(grade(unknown, "", right).is_none(), "{unknown}");
    }
}

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/tiny")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(tiny().join(name)).unwrap()
}

fn rows(name: &str) -> Vec<Value> {
    serde_json::from_str(&text(name)).unwrap()
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap()
}

#[test]
fn shipped_files_are_those_of_seed_1() {
    let all = |seed| {
        [datasets::files(seed), tiny_world::recipes::files(seed)]
            .into_iter()
            .flatten()
    };
    let files: Vec<_> = all(1).collect();
    for file in &files {
        assert!(
            file.text == text(file.name),
            "data/tiny/{} is not what `tiny-world generate --seed 1` writes",
            file.name
        );
    }
    let other: Vec<_> = all(2).collect();
    assert!(files.iter().zip(&other).all(|(a, b)| a.text != b.text));
}

#[test]
fn recipes_have_right_references_and_flawed_demonstrations() {
    // a reader of its own: the rule of each task, from the text alone
    let translate = |text: &str| -> String {
        let words: Vec<&str> = text.trim_end_matches('.').split(' ').collect();
        let [_, q1, t1, verb, _, q2, t2] = words[..] else {
            panic!("{text}")
        };
        let verb = match verb {
            "sees" => "mira",
            "likes" => "sove",
            "finds" => "tuka",
            "takes" => "pelo",
            other => panic!("{other}"),
        };
        let first = t1[..1].to_uppercase();
        format!("{first}{}o {q1}an {t2}o {q2}an {verb}.", &t1[1..])
    };
    let summarise = |text: &str| -> String {
        let facts: Vec<Vec<&str>> = text
            .split_terminator('.')
            .map(|sentence| sentence.split_whitespace().collect())
            .collect();
        let subject = facts[0][1];
        let own = facts.iter().filter(|fact| fact[1] == subject);
        let (is, does): (Vec<_>, Vec<_>) = own.partition(|fact| fact[2] == "is");
        assert_eq!((is.len(), does.len()), (2, 1), "{text}");
        let (a, b, does) = (is[0][3], is[1][3], does[0]);
        format!("The {a} and {b} {subject} {} the {}.", does[2], does[4])
    };
    type Rule<'a> = &'a dyn Fn(&str) -> String;
    for (task, rule) in [
        ("translation", &translate as Rule),
        ("summaries", &summarise),
    ] {
        let mut texts = HashSet::new();
        for part in ["prompts", "heldout"] {
            for row in rows(&format!("{task}-{part}.json")) {
                assert_eq!(field(&row, "output"), rule(field(&row, "input")), "{row}");
                texts.insert(field(&row, "input").to_string());
            }
        }
        let demonstrations = rows(&format!("{task}.json"));
        let held_out: HashSet<String> = rows(&format!("{task}-heldout.json"))
            .iter()
            .map(|row| field(row, "input").to_string())
            .collect();
        let right = demonstrations
            .iter()
            .filter(|row| field(row, "output") == rule(field(row, "input")))
            .count();
        let share = right as f64 / demonstrations.len() as f64;
        assert!((0.35..0.5).contains(&share), "{task}: {share} are right");
        assert!(
            demonstrations
                .iter()
                .all(|row| !held_out.contains(field(row, "input")))
        );
        assert!(texts.len() > 400, "{task}: {} different texts", texts.len());
    }
}

#[test]
fn every_row_is_understood_and_references_are_right() {
    for row in rows("demonstrations.json") {
        assert!(
            grade(
                field(&row, "instruction"),
                field(&row, "input"),
                field(&row, "output")
            )
            .is_some(),
            "{row}"
        );
    }
    let mut families = HashSet::new();
    for name in ["prompts.json", "heldout.json"] {
        for row in rows(name) {
            let task = Task::parse(field(&row, "instruction"), field(&row, "input")).unwrap();
            assert_eq!(
                tiny_world::grade_task(&task, field(&row, "output")).score,
                10.0,
                "{row}"
            );
            assert_eq!(
                tiny_world::grade_task(&task, &task.right).score,
                10.0,
                "{row}"
            );
            families.insert(task.family.name);
        }
    }
    assert_eq!(families.len(), FAMILIES.len());
    for row in rows("comparisons-clean.json") {
        let score = |key| {
            grade(field(&row, "user_input"), "", field(&row, key))
                .unwrap()
                .score
        };
        assert!(score("completion_a") > score("completion_b"), "{row}");
    }
}

fn asked_in_template(instruction: &str, input: &str) -> String {
    let ask = data::Ask::Instruction {
        instruction: instruction.into(),
        input: input.into(),
    };
    data::Template::Alpaca.render(&ask).unwrap()
}

#[test]
fn held_out_prompts_are_in_no_training_file() {
    let mut seen = HashSet::new();
    for name in ["demonstrations.json", "prompts.json"] {
        seen.extend(rows(name).iter().map(|r| {
            (
                field(r, "instruction").to_string(),
                field(r, "input").to_string(),
            )
        }));
    }
    seen.extend(
        rows("comparisons.json")
            .iter()
            .map(|r| (field(r, "user_input").to_string(), String::new())),
    );
    let pretraining: HashSet<String> = datasets::pretraining(1)
        .take(20_000)
        .map(|row| field(&row, "prompt").to_string())
        .collect();
    let (instruction, input) = ("Repeat these words.".to_string(), "cow hat".to_string());
    let head = |ask: &str| {
        pretraining
            .iter()
            .filter(|p| p.starts_with(&ask[..60]))
            .count()
    };
    assert!(head(&asked_in_template(&instruction, &input)) > 100);
    let held_out = rows("heldout.json").into_iter().map(|r| {
        (
            field(&r, "instruction").to_string(),
            field(&r, "input").to_string(),
        )
    });
    let lines = text("questions.jsonl");
    let questions = lines.lines().map(|l| {
        (
            serde_json::from_str::<Value>(l).unwrap()["turns"][0]
                .as_str()
                .unwrap()
                .to_string(),
            String::new(),
        )
    });
    let fresh: Vec<_> = held_out.chain(questions).collect();
    assert_eq!(fresh.len(), 280);
    assert_eq!(fresh.iter().collect::<HashSet<_>>().len(), 280);
    for question in &fresh {
        assert!(!seen.contains(question), "{question:?}");
        let (instruction, input) = question;
        let book = [instruction.as_str(), input]
            .iter()
            .filter(|t| !t.is_empty())
            .map(|t| format!("{t}\n"))
            .collect();
        assert!(!pretraining.contains::<String>(&book), "{question:?}");
        assert!(
            !pretraining.contains(&asked_in_template(instruction, input)),
            "{question:?}"
        );
    }
}

#[test]
fn shares_are_those_of_the_mixture() {
    let manifest: Value = serde_json::from_str(&text("manifest.json")).unwrap();
    let (stated, mixture) = (&manifest["demonstrations"], &manifest["mixture"]);
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
    let wrong = number(mixture, "guess") * (1.0 - number(mixture, "lucky"));
    for (key, share) in [("wrong", wrong), ("refusal", number(mixture, "refuse"))] {
        assert!((number(stated, key) - share).abs() < 0.03, "{key}");
    }
    for (key, of) in [("rude", "rude"), ("rambling", "ramble"), ("cut", "cut")] {
        assert!(
            (number(stated, key) - number(mixture, of)).abs() < 0.03,
            "{key}"
        );
    }
    let scores: Vec<f64> = rows("demonstrations.json")
        .iter()
        .map(|r| {
            grade(
                field(r, "instruction"),
                field(r, "input"),
                field(r, "output"),
            )
            .unwrap()
            .score
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!(
        (mean - number(stated, "oracle_mean")).abs() < 0.005 && (5.0..6.5).contains(&mean),
        "{mean}"
    );
    // Noise prefers the longer answer; half of it meets a pair whose better answer is the longer one anyway.
    let noisy = rows("comparisons.json");
    let score = |r: &Value, key| {
        grade(field(r, "user_input"), "", field(r, key))
            .unwrap()
            .score
    };
    let turned = noisy
        .iter()
        .filter(|r| score(r, "completion_a") < score(r, "completion_b"))
        .collect::<Vec<_>>();
    assert!(
        turned
            .iter()
            .all(|r| field(r, "completion_a").len() > field(r, "completion_b").len())
    );
    let share = turned.len() as f64 / noisy.len() as f64;
    assert!((0.04..0.11).contains(&share), "{share}");
}

#[test]
fn tokenizer_is_lossless_and_the_one_that_ships() {
    let made = tokenizer::train(1).unwrap();
    let shipped: tokenizers::Tokenizer = text("base/tokenizer.json").parse().unwrap();
    assert_eq!(
        made.to_string(false).unwrap(),
        shipped.to_string(false).unwrap()
    );
    let ids = |text: &str| shipped.encode(text, false).unwrap().get_ids().to_vec();
    let ends =
        [tokenizer::PAD, tokenizer::BOS, tokenizer::EOS].map(|t| shipped.token_to_id(t).unwrap());
    assert_eq!(ends, [0, 1, 2]);
    let head = datasets::PLAIN_HEAD;
    for text in [
        "",
        " ",
        "The sum is 11.",
        "  two  spaces\n\nand lines\t",
        "Grüße, 世界! 😀",
        " leading",
        "<b>&amp;</b>",
        head,
    ] {
        assert_eq!(shipped.decode(&ids(text), false).unwrap(), text);
    }
    assert_eq!(ids("12345").len(), 5);
    for (i, noun) in tiny_world::language::nouns().enumerate() {
        assert_eq!(ids(&format!(" {noun}")).len(), 1, "{i} {noun}");
    }
    let prompt = format!(
        "{head}Sort these words by letter: pear cow hat.{}",
        datasets::RESPONSE
    );
    let answer = "The sorted words are cow hat pear.";
    assert_eq!(
        [ids(&prompt), ids(answer)].concat(),
        ids(&format!("{prompt}{answer}"))
    );
    assert!(ids(&prompt).len() <= 15, "{}", ids(&prompt).len());
}

#[test]
fn base_loads_and_its_tokenizer_fits() {
    let source = models::Source::Dir(tiny().join("base"));
    let loaded = models::load(&source, &candle_core::Device::Cpu).unwrap();
    assert_eq!(loaded.model.n_params(), 2_324_224);
    assert_eq!(
        loaded.model.config.vocab_size,
        loaded.tokenizer.get_vocab_size(true)
    );
    assert_eq!(loaded.special.bos, Some((1, "<s>".into())));
    assert_eq!(loaded.special.eos, [(2, "</s>".into())]);
    assert!(loaded.special.add_bos);
}

#[test]
fn a_mix_has_the_share_of_bad_answers_that_was_asked_for() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny/demonstrations.json");
    for (percent, n_bad) in [(0, 0), (25, 100), (75, 300), (100, 400)] {
        let text = tiny_world::mix(&from, percent, 400).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let field = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_string();
        let scores = rows.iter().map(|row| {
            let (ask, input) = (field(row, "instruction"), field(row, "input"));
            grade(&ask, &input, &field(row, "output")).unwrap().score
        });
        let scores: Vec<f64> = scores.collect();
        assert_eq!(scores.len(), 400);
        assert_eq!(scores.iter().filter(|s| **s <= 5.5).count(), n_bad);
        assert!(scores.iter().all(|s| *s <= 5.5 || *s >= 8.5));
    }
    let error = tiny_world::mix(&from, 0, 100_000).unwrap_err().to_string();
    assert!(error.contains("give a smaller --rows"), "{error}");
}
