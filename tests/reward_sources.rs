//! Sources of reward and their weighted sums: settings, the rules, normalising and clipping.

use crate::rewards::{model, rows, trained};
use models::CausalLm;
use rewards::{Item, Kind, Mixture, RewardModel, Scored, SourceConfig};
use serde::Deserialize;
use testkit::assert_close_slices;
use toml::Table;

#[derive(Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    rewards: Vec<SourceConfig>,
}

/// The entries of a `rewards = [...]`, as the stages read them.
fn read(entries: &str) -> anyhow::Result<Vec<SourceConfig>> {
    let table: Table = format!("rewards = [{entries}]").parse()?;
    Ok(run::from_table::<Settings>(&table, "")?.rewards)
}

fn item(response: &str) -> Item<'_> {
    Item {
        prompt: "p",
        response,
        reference: None,
        ids: &[1, 2, 3],
        n_response_tokens: response.len(),
    }
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

struct World {
    llama: CausalLm,
    mixture: Mixture,
}

impl World {
    fn new(entries: &str, reward: bool) -> Self {
        let llama = model(1);
        let reward = reward.then(|| trained(&llama));
        let mixture = Mixture::open(&read(entries).unwrap(), reward).unwrap();
        Self { llama, mixture }
    }

    fn score(&mut self, items: &[Item]) -> Scored {
        self.mixture.score(&self.llama, items).unwrap()
    }

    /// Totals of responses.
    fn totals(&mut self, responses: &[&str]) -> Vec<f64> {
        let items: Vec<Item> = responses.iter().map(|text| item(text)).collect();
        f64s(&self.score(&items).total)
    }
}

/// Scores of one source by its text alone.
#[track_caller]
fn check(source: &str, expected: &[(&str, f64)]) {
    let (texts, scores): (Vec<&str>, Vec<f64>) = expected.iter().copied().unzip();
    let found = World::new(source, false).totals(&texts);
    assert_close_slices(source, &found, &scores, 1e-6);
}

#[test]
fn settings_are_read_and_written() {
    let given = r#"{ kind = "model" }, { kind = "bleu", weight = -0.5, clip = [0, 0.5], effective_order = false },
        { kind = "length", normalise = "running", unit = "words", min = 3, max = 5 },
        { kind = "process", command = ["true", "-x"], timeout_secs = 5.0 },
        { kind = "http", url = "http://localhost:1/score", key_env = "PATH" }"#;
    let configs = read(given).unwrap();
    rewards::check(&configs).unwrap();
    assert_eq!(configs[0], SourceConfig::model());
    assert_eq!(configs[1].shared.weight, -0.5);
    assert_eq!(configs[1].shared.clip, Some([0.0, 0.5]));
    let Kind::Process(process) = &configs[3].kind else {
        panic!("{:?}", configs[3])
    };
    assert_eq!((process.timeout_secs, process.retries), (5.0, 2));

    // what a run keeps in its config.toml is what it read, with every key
    let settings = Settings { rewards: configs };
    let text = toml::to_string(&settings).unwrap();
    assert!(text.contains("batch_size = 64"), "{text}");
    let again: Settings = run::from_table(&text.parse().unwrap(), "").unwrap();
    assert_eq!(again.rewards, settings.rewards);

    for entry in [
        "model",
        "bleu",
        "rouge_1",
        "rouge_2",
        "rouge_l",
        "rouge_lsum",
    ] {
        let configs = read(&format!("{{ kind = {entry:?} }}")).unwrap();
        assert_eq!(configs[0].kind.name(), entry);
        assert_eq!(rewards::needs_model(&configs), entry == "model");
        assert_eq!(rewards::needs_reference(&configs), entry != "model");
    }
    assert!(!rewards::needs_model(&[]) && !rewards::needs_reference(&[]));
}

#[test]
fn every_kind_is_read_by_its_name() {
    for name in rewards::KINDS {
        let configs = read(&format!("{{ kind = {name:?} }}")).unwrap();
        assert_eq!(configs[0].kind.name(), *name);
        let written = serde_json::to_value(&configs[0]).unwrap();
        assert_eq!(written["kind"], *name);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_in_one_line() {
    #[track_caller]
    fn refused(entry: &str, says: &[&str]) {
        let result = read(&format!("{{ kind = \"model\" }}, {entry}"))
            .and_then(|configs| Ok(rewards::check(&configs)?));
        let line = run::one_line(&result.expect_err(entry));
        assert_eq!(line.lines().count(), 1);
        for part in says.iter().chain(&["rewards[1]"]) {
            assert!(line.contains(part), "{line} lacks {part}");
        }
    }
    refused("{ weight = 1 }", &["kind is missing", "rouge_lsum"]);
    refused("{ kind = 3 }", &["kind = 3"]);
    refused("{ kind = \"rogue_l\" }", &["did you mean \"rouge_l\"?"]);
    let own = "a source of kind \"bleu\" has effective_order, weight, normalise, clip";
    refused(
        "{ kind = \"bleu\", stem = true }",
        &["unknown key \"stem\"", own],
    );
    refused(
        "{ kind = \"model\", wieght = 2 }",
        &["unknown key \"wieght\"", "weight"],
    );
    refused(
        "{ kind = \"bleu\", weight = \"x\" }",
        &["\"weight\" is the string", "expected a number"],
    );
    refused(
        "{ kind = \"rouge_l\", stem = 1 }",
        &["\"stem\"", "true or false"],
    );
    refused(
        "{ kind = \"model\", normalise = \"max\" }",
        &["\"normalise\" is \"max\"", "\"running\""],
    );
    refused("{ kind = \"model\", weight = nan }", &["weight = NaN"]);
    refused("{ kind = \"model\", clip = [1, 1] }", &["clip = [1, 1]"]);
    refused("{ kind = \"model\", clip = [1] }", &["clip"]);
    refused(
        "{ kind = \"model\", clip = [nan, 1] }",
        &["clip = [NaN, 1]"],
    );
    refused("{ kind = \"length\" }", &["needs target, min or max"]);
    refused(
        "{ kind = \"http\", url = \"http://x/score?API_key=abc\" }",
        &["has a key in its url", "key_env"],
    );
    let pasted = "{ kind = \"http\", url = \"http://x\", key_env = \"sk-not-told\" }";
    refused(pasted, &["give the name, not the key"]);
    let error = read(pasted).and_then(|configs| Ok(rewards::check(&configs)?));
    assert!(!run::one_line(&error.unwrap_err()).contains("not-told"));
    refused(
        "{ kind = \"length\", target = 3, max = 4 }",
        &["target is both bounds"],
    );
    refused("{ kind = \"length\", max = 0 }", &["bound of 0"]);
    refused(
        "{ kind = \"length\", min = 5, max = 4 }",
        &["min = 5 above max = 4"],
    );
    refused(
        "{ kind = \"length\", unit = \"letters\", max = 4 }",
        &["\"unit\" is \"letters\""],
    );
    refused("{ kind = \"format\" }", &["needs must_match"]);
    refused(
        "{ kind = \"format\", must_match = \"(\" }",
        &["must_match = \"(\"", "unclosed group"],
    );
    refused("{ kind = \"process\" }", &["needs a command"]);
    refused(
        "{ kind = \"process\", command = \"ls\" }",
        &["\"command\"", "expected an array"],
    );
    refused(
        "{ kind = \"process\", command = [\"no-such-program\"] }",
        &["there is no such program"],
    );
    refused(
        "{ kind = \"process\", command = [\"./no/such\"] }",
        &["there is no such program"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], batch_size = 0 }",
        &["batch_size = 0"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], timeout_secs = 0.0 }",
        &["timeout_secs = 0"],
    );
    refused(
        "{ kind = \"process\", command = [\"ls\"], timeout_secs = nan }",
        &["timeout_secs = NaN"],
    );
    refused("{ kind = \"http\" }", &["needs a url"]);
    refused(
        "{ kind = \"http\", url = \"localhost:80\" }",
        &["needs a url"],
    );
    refused(
        "{ kind = \"http\", url = \"http://me:pass@host/\" }",
        &["password in its url", "key_env"],
    );
    refused(
        "{ kind = \"http\", url = \"http://host/\", key_env = \"WICK_NO_SUCH_KEY\" }",
        &["WICK_NO_SUCH_KEY", "is not set"],
    );
    refused(
        "{ kind = \"http\", url = \"http://host/\", backoff_secs = -1.0 }",
        &["backoff_secs = -1"],
    );
}

#[test]
fn the_length_rule_is_a_trapezoid() {
    let long = "x".repeat(30);
    let at = |n: usize| &long[..n];
    check(
        "{ kind = \"length\", target = 10 }",
        &[
            (at(0), 0.0),
            (at(5), 0.5),
            (at(10), 1.0),
            (at(15), 0.5),
            (at(20), 0.0),
            (at(30), 0.0),
        ],
    );
    check(
        "{ kind = \"length\", min = 4, max = 10 }",
        &[
            (at(1), 0.25),
            (at(4), 1.0),
            (at(7), 1.0),
            (at(10), 1.0),
            (at(12), 0.8),
            (at(25), 0.0),
        ],
    );
    check(
        "{ kind = \"length\", min = 20 }",
        &[(at(0), 0.0), (at(15), 0.75), (at(30), 1.0)],
    );
    check(
        "{ kind = \"length\", max = 20 }",
        &[(at(0), 1.0), (at(20), 1.0), (at(30), 0.5)],
    );
    check(
        "{ kind = \"length\", unit = \"words\", target = 2 }",
        &[
            ("", 0.0),
            (" one\n", 0.5),
            ("a  b", 1.0),
            ("a b\tc", 0.5),
            ("a b c d e", 0.0),
        ],
    );
}

#[test]
fn the_format_rule_passes_or_not() {
    let pass = 1.0;
    check(
        "{ kind = \"format\", must_match = '^\\d+$' }",
        &[("12", pass), (" 12\n", pass), ("12 a", 0.0), ("", 0.0)],
    );
    check(
        "{ kind = \"format\", must_not_match = '(?i)sorry' }",
        &[("Fine.", pass), ("I am SORRY.", 0.0), ("", pass)],
    );
    check(
        "{ kind = \"format\", starts_with = \"Dear\", ends_with = \".\" }",
        &[(" Dear all.\n", pass), ("Dear all", 0.0), ("My dear.", 0.0)],
    );
    check(
        "{ kind = \"format\", json = true }",
        &[
            ("{\"a\": [1, null]}\n", pass),
            ("3", pass),
            ("{'a': 1}", 0.0),
            ("{} {}", 0.0),
            ("", 0.0),
        ],
    );
    check(
        "{ kind = \"format\", json = true, must_match = '\"a\"' }",
        &[("{\"a\": 1}", pass), ("{\"b\": 1}", 0.0), ("\"a\" 1", 0.0)],
    );
}

#[test]
fn text_metrics_are_of_response_and_reference() {
    let (response, reference) = ("the dog bit the man.", "The dogs had bit\nthe man.");
    let item = Item {
        reference: Some(reference),
        ..item(response)
    };
    for (source, expected) in [
        (
            "{ kind = \"bleu\" }",
            rewards::sentence_bleu(response, &[reference], true) / 100.0,
        ),
        (
            "{ kind = \"rouge_1\" }",
            rewards::rouge_n(1, reference, response, false),
        ),
        (
            "{ kind = \"rouge_2\" }",
            rewards::rouge_n(2, reference, response, false),
        ),
        (
            "{ kind = \"rouge_l\", stem = true }",
            rewards::rouge_l(reference, response, true),
        ),
        (
            "{ kind = \"rouge_lsum\" }",
            rewards::rouge_lsum(reference, response, false),
        ),
    ] {
        assert!(expected > 0.1 && expected < 1.0, "{source} {expected}");
        let found = World::new(source, false).score(&[item]).total;
        assert_close_slices(source, &f64s(&found), &[expected], 1e-6);
    }
    let short = Item {
        reference: Some("cat"),
        ..self::item("cat")
    };
    let strict = "{ kind = \"bleu\", effective_order = false }";
    assert_eq!(World::new(strict, false).score(&[short]).total, [0.0]);
    assert_eq!(
        World::new("{ kind = \"bleu\" }", false)
            .score(&[short])
            .total,
        [1.0]
    );

    let mut world = World::new("{ kind = \"bleu\" }", false);
    let error = world
        .mixture
        .score(&world.llama, &[self::item("a")])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("reward bleu: a prompt has no reference answer"),
        "{error}"
    );
}

fn normalised(reward: &RewardModel, llama: &CausalLm, rows: &[Vec<u32>]) -> Vec<f32> {
    let rows: Vec<_> = rows.iter().map(|ids| (ids.as_slice(), 0)).collect();
    let raw = reward.score(llama, &rows).unwrap();
    raw.into_iter()
        .map(|score| reward.normalised(score))
        .collect()
}

#[test]
fn the_model_alone_is_the_reward_model_bit_for_bit() {
    let mut world = World::new("{ kind = \"model\" }", true);
    let rows = rows(9);
    let expected = normalised(world.mixture.model().unwrap(), &world.llama, &rows);
    let items: Vec<Item> = rows.iter().map(|ids| Item { ids, ..item("") }).collect();
    let scored = world.score(&items);
    assert_eq!(scored.total, expected);
    let mean = f64s(&expected).iter().sum::<f64>() / 9.0;
    assert_close_slices("mean", &[scored.means["model"]], &[mean], 1e-12);

    let opened = Mixture::open(&[SourceConfig::model()], None);
    let error = match opened {
        Ok(_) => panic!("opened without a model"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("there is no reward model"), "{error}");
}

#[test]
fn a_mixture_is_the_weighted_sum_of_its_sources() {
    let entries = r#"{ kind = "length", target = 4, weight = 2.0 }, { kind = "format", ends_with = "!", weight = -1.5 },
                     { kind = "model", weight = 0.5 }, { kind = "format", starts_with = "a", weight = 0 }"#;
    let mut world = World::new(entries, true);
    let rows = rows(3);
    let expected = normalised(world.mixture.model().unwrap(), &world.llama, &rows);
    let texts = ["abcd", "ab", "a!"];
    let items: Vec<Item> = rows
        .iter()
        .zip(texts)
        .map(|(ids, text)| Item { ids, ..item(text) })
        .collect();
    let scored = world.score(&items);
    let model = f64s(&expected);
    let sums = [
        2.0 + 0.5 * model[0],
        1.0 + 0.5 * model[1],
        1.0 - 1.5 + 0.5 * model[2],
    ];
    assert_close_slices("total", &f64s(&scored.total), &sums, 1e-6);
    let names: Vec<&str> = scored.means.keys().map(String::as_str).collect();
    assert_eq!(names, ["format", "format_2", "length", "model"]);
    let means: Vec<f64> = scored.means.values().copied().collect();
    let model = model.iter().sum::<f64>() / 3.0;
    assert_close_slices("means", &means, &[1.0 / 3.0, 1.0, 2.0 / 3.0, model], 1e-6);

    // rows read in parts and summed up together are the rows read together
    let mut parts = rewards::Readings::default();
    for item in &items {
        parts.extend(world.mixture.read(&world.llama, &[*item]).unwrap());
    }
    assert_close_slices(
        "parts",
        &f64s(&world.mixture.sum(&parts).total),
        &f64s(&scored.total),
        1e-6,
    );
    let nothing = world.score(&[]);
    assert!(nothing.total.is_empty() && nothing.means["model"] == 0.0);
}

const LENGTHS: [&str; 4] = ["a", "ab", "abc", "abcd"]; // scores 0.1 to 0.4 of target 10
const TARGET: &str = "kind = \"length\", target = 10";

#[test]
fn a_batch_is_normalised_then_clipped() {
    let std = (1.25f64).sqrt();
    let by = |shift: f64| [-1.5, -0.5, 0.5, 1.5].map(|x| shift + x / std);
    let batch = format!("{{ {TARGET}, normalise = \"batch\" }}");
    let mut world = World::new(&batch, false);
    assert_close_slices("batch", &world.totals(&LENGTHS), &by(0.0), 1e-5);
    assert_close_slices("again", &world.totals(&LENGTHS), &by(0.0), 1e-5);
    assert_eq!(
        world.totals(&["abc", "abc"]),
        [0.0; 2],
        "no spread to divide by"
    );
    assert_eq!(world.totals(&["abc"]), [0.0]);

    let clipped = format!("{{ {TARGET}, normalise = \"batch\", clip = [-1, 0.2], weight = 3 }}");
    let found = World::new(&clipped, false).totals(&LENGTHS);
    assert_close_slices("clipped", &found, &[-3.0, -1.5 / std, 0.6, 0.6], 1e-5);
    let raw = format!("{{ {TARGET}, clip = [0.15, 0.3] }}");
    let found = World::new(&raw, false).totals(&LENGTHS);
    assert_close_slices("raw", &found, &[0.15, 0.2, 0.3, 0.3], 1e-6);
}

#[test]
fn running_statistics_are_of_all_that_was_scored_and_resume_exactly() {
    let entries =
        format!("{{ {TARGET}, normalise = \"running\" }}, {{ kind = \"format\", json = true }}");
    let mut world = World::new(&entries, false);
    let seen = [&LENGTHS[..2], &LENGTHS[2..], &["abcdefg"]];
    let mut all: Vec<f64> = Vec::new();
    for batch in seen {
        all.extend(batch.iter().map(|text| text.len() as f64 / 10.0));
        let n = all.len() as f64;
        let mean = all.iter().sum::<f64>() / n;
        let std = (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected: Vec<f64> = all[all.len() - batch.len()..]
            .iter()
            .map(|x| (x - mean) / std)
            .collect();
        assert_close_slices("running", &world.totals(batch), &expected, 1e-5);
    }

    let state = world.mixture.state();
    let stored: serde_json::Value = serde_json::from_str(&state.to_string()).unwrap();
    let mut resumed = World::new(&entries, false);
    resumed.mixture.restore(&stored).unwrap();
    assert_eq!(resumed.mixture.state(), state);
    for batch in [["abc", "a"], ["ab", "abcdef"]] {
        assert_eq!(resumed.totals(&batch), world.totals(&batch));
    }
    let mut other = World::new("{ kind = \"format\", json = true }", false);
    let error = other.mixture.restore(&stored).unwrap_err().to_string();
    assert!(error.contains("of other sources"), "{error}");
}

#[test]
fn an_evaluation_is_on_one_scale_and_moves_nothing() {
    let entries = format!(
        "{{ {TARGET}, normalise = \"running\", clip = [-1, 0] }}, {{ {TARGET}, weight = 2, clip = [0, 0.25] }}"
    );
    let mut world = World::new(&entries, false);
    world.totals(&["a", "abcdefgh"]);
    let state = world.mixture.state();
    let items: Vec<Item> = LENGTHS.iter().map(|text| item(text)).collect();
    let readings = world.mixture.read(&world.llama, &items).unwrap();
    let scored = world.mixture.plain_sum(&readings);
    let sums = [0.1 + 0.2, 0.2 + 0.4, 0.3 + 0.5, 0.4 + 0.5];
    assert_close_slices("plain", &f64s(&scored.total), &sums, 1e-6);
    assert_close_slices("mean", &[scored.means["length_2"]], &[0.25], 1e-6);
    assert_eq!(world.mixture.state(), state);
}
