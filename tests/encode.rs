//! `data`: templates against transformers, ids and masks, context fit, splits and the loader's resume.

use crate::common::{chat, instruction, prompt};
use data::{Ask, Cursor, Encoder, Ends, Example, Loader, Message, Template, TooLong};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokenizers::{AddedToken, Tokenizer};

#[test]
fn alpaca_prompts_are_stanfords() {
    let render = |ask: &Ask| Template::Alpaca.render(ask).unwrap();
    let with_input = "Below is an instruction that describes a task, paired with an input that provides further \
        context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n\
        ### Input:\n1 + 1\n\n### Response:";
    assert_eq!(render(&instruction("Add.", "1 + 1")), with_input);
    let without = "Below is an instruction that describes a task. Write a response that appropriately completes the \
        request.\n\n### Instruction:\nAdd.\n\n### Response:";
    assert_eq!(render(&instruction("Add.", "")), without);
    assert_eq!(render(&chat(&[("user", "Add.")])), without);
    let long = chat(&[
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add."),
    ]);
    let expected = with_input.replace("1 + 1", "System: Be kind.\n\nHuman: Hi\n\nAssistant: Hello");
    assert_eq!(render(&long), expected);
    assert_eq!(render(&Ask::Raw("as it is".into())), "as it is");
    let error = Template::Alpaca
        .render(&chat(&[("assistant", "Hi")]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a conversation must end with a user turn to be put into the Alpaca template"
    );
    let raw = Template::Raw;
    assert_eq!(raw.render(&instruction("a", "b")).unwrap(), "a\n\nb");
    let hh = raw
        .render(&chat(&[("user", "a"), ("assistant", "b"), ("user", "c")]))
        .unwrap();
    assert_eq!(hh, "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:");
}

fn golden_templates() -> (BTreeMap<String, Template>, Vec<serde_json::Value>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/templates.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_string();
    let templates = golden["templates"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, t)| {
            let (source, bos, eos) = (text(&t["source"]), text(&t["bos"]), text(&t["eos"]));
            (name.clone(), Template::Chat { source, bos, eos })
        });
    (
        templates.collect(),
        golden["cases"].as_array().unwrap().clone(),
    )
}

/// scripts/golden/templates.py
#[test]
fn chat_templates_render_as_in_transformers() {
    let (templates, cases) = golden_templates();
    for case in &cases {
        let name = case["template"].as_str().unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let text = templates[name].render(&Ask::Chat(messages)).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{name}");
    }
    assert_eq!(cases.len(), 16);
    let one = templates["smollm2"]
        .render(&instruction("Add.", "1"))
        .unwrap();
    assert!(
        one.ends_with("<|im_start|>user\nAdd.\n\n1<|im_end|>\n<|im_start|>assistant\n"),
        "{one}"
    );
}

fn chat_template(source: &str) -> Template {
    Template::Chat {
        source: source.into(),
        bos: "<s>".into(),
        eos: "</s>".into(),
    }
}

#[test]
fn chat_templates_cannot_run_for_ever_or_read_files() {
    #[track_caller]
    fn check(source: &str, expected: &str) {
        let error = chat_template(source)
            .render(&instruction("a", ""))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    check(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "chat template: does not end within its limit of steps",
    );
    check("{% include '/etc/passwd' %}", "chat template (line 1): ");
    check(
        "{{ raise_exception('roles must alternate') }}",
        "chat template (line 1): roles must alternate",
    );
    check("\n{% if %}", "chat template (line 2): ");
    let (templates, _) = golden_templates();
    let twice = chat(&[("user", "a"), ("user", "b")]);
    let error = templates["llama-2"].render(&twice).unwrap_err().to_string();
    assert!(
        error.contains("Conversation roles must alternate"),
        "{error}"
    );
    let date = chat_template("{{ strftime_now('%d %b %Y') }}")
        .render(&instruction("a", ""))
        .unwrap();
    let parts: Vec<&str> = date.split(' ').collect();
    assert!(
        parts.len() == 3 && parts[0].len() == 2 && parts[1].len() == 3 && parts[2] >= "2025",
        "{date}"
    );
}

#[test]
fn templates_survive_template_json() {
    for template in [
        Template::Alpaca,
        Template::Raw,
        chat_template("{{ bos_token }}"),
    ] {
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<Template>(&json).unwrap(), template);
    }
    assert_eq!(
        serde_json::to_string(&Template::Alpaca).unwrap(),
        r#"{"kind":"alpaca"}"#
    );
}

const BOS: u32 = 256;
const EOS: u32 = 257;
const IM_START: u32 = 258;
const IM_END: u32 = 259;

/// One token a byte, then the special tokens.
fn byte_tokenizer() -> Tokenizer {
    use tokenizers::models::bpe::BPE;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    let alphabet: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
    let vocab: Vec<_> = alphabet
        .iter()
        .enumerate()
        .map(|(i, c)| (c.to_string(), i as u32))
        .collect();
    let vocab: [(String, u32); 256] = vocab.try_into().unwrap();
    let bpe = BPE::builder().vocab_and_merges(vocab, Vec::new());
    let mut tokenizer = Tokenizer::new(bpe.build().unwrap());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, false)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
    tokenizer
        .add_special_tokens(specials.map(|s| AddedToken::from(s, true)))
        .unwrap();
    assert_eq!(tokenizer.token_to_id("<|im_end|>"), Some(IM_END));
    tokenizer
}

fn ends(add_bos: bool) -> Ends {
    Ends {
        bos: Some(BOS),
        add_bos,
        eos: EOS,
        stop: vec![EOS],
    }
}

/// No template, a token a byte.
pub fn byte_encoder() -> Encoder {
    encoder(Template::Raw, false)
}

fn encoder(template: Template, add_bos: bool) -> Encoder {
    Encoder::new(byte_tokenizer(), template, ends(add_bos)).unwrap()
}

#[test]
fn examples_are_prompt_ids_then_response_ids_then_eos() {
    for add_bos in [false, true] {
        let encoder = encoder(Template::Alpaca, add_bos);
        let prompt = prompt(instruction("Grüße.", "x"));
        let example = encoder.example(&prompt, "Ja.\n\n").unwrap();
        let (before, after) = example.ids.split_at(example.prompt_len);
        assert_eq!(before, encoder.prompt(&prompt).unwrap());
        assert_eq!(before.first() == Some(&BOS), add_bos);
        assert_eq!(after, encoder.response("Ja.").unwrap());
        assert_eq!((after.len(), after[3]), (4, EOS));
        assert_eq!(encoder.decode(after).unwrap(), "Ja.");
        assert_eq!(
            encoder.decode(before).unwrap(),
            Template::Alpaca.render(&prompt.ask).unwrap()
        );
        assert_eq!(example.key, prompt.key());
    }
    let raw = encoder(Template::Raw, true);
    let text = raw
        .example(&prompt(Ask::Raw(String::new())), "abc")
        .unwrap();
    assert_eq!((text.ids.len(), text.prompt_len, text.ids[0]), (5, 1, BOS));
}

/// A template that writes BOS itself does not get a second one.
#[test]
fn bos_is_never_doubled() {
    let count = |template: &str, add_bos: bool| {
        let ids = encoder(chat_template(template), add_bos)
            .prompt(&prompt(instruction("a", "")))
            .unwrap();
        (ids.iter().filter(|id| **id == BOS).count(), ids[0] == BOS)
    };
    let with = "{{ bos_token }}{{ messages[0].content }}";
    let without = "{{ messages[0].content }}";
    assert_eq!(count(with, true), (1, true));
    assert_eq!(count(with, false), (1, true));
    assert_eq!(count(without, true), (1, true));
    assert_eq!(count(without, false), (0, false));
    // and where it or the text writes it twice, that is said
    let twice = encoder(chat_template(with), true).prompt(&prompt(instruction("<s>a", "")));
    assert_eq!(
        twice.unwrap_err().to_string(),
        "a prompt begins with BOS (<s>) twice; take it out of the data's text, or out of the chat template"
    );
    // Under Alpaca `<s>` is text that somebody wrote, so BOS is still due.
    let ids = encoder(Template::Raw, true)
        .prompt(&prompt(instruction("<s>a", "")))
        .unwrap();
    assert_eq!(
        (ids.len(), ids.iter().filter(|id| **id == BOS).count()),
        (5, 1)
    );
}

/// `</s>` in data is text; only the encoder ends an answer.
#[test]
fn special_tokens_in_data_are_text() {
    let encoder = encoder(Template::Alpaca, false);
    let ids = encoder.response("a</s>b").unwrap();
    assert_eq!(ids.len(), 7);
    assert_eq!(ids.iter().filter(|id| **id == EOS).count(), 1);
    assert_eq!(encoder.decode(&ids).unwrap(), "a</s>b");
}

/// Under a chat template the answer ends as the template ends it, whatever the model's file calls EOS.
#[test]
fn a_chat_templates_end_token_ends_the_answer() {
    let (templates, _) = golden_templates();
    let Template::Chat { source, .. } = &templates["smollm2"] else {
        unreachable!()
    };
    let chat = encoder(chat_template(source), false);
    assert_eq!(
        chat.ends(),
        &Ends {
            eos: IM_END,
            stop: vec![IM_END, EOS],
            ..ends(false)
        }
    );
    let example = chat.example(&prompt(instruction("a", "")), "b").unwrap();
    assert_eq!(example.ids[0], IM_START);
    assert_eq!(example.ids.last(), Some(&IM_END));
    assert_eq!(encoder(Template::Alpaca, false).ends(), &ends(false));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let ends = Ends {
        eos: 9999,
        ..ends(false)
    };
    let error = Encoder::new(byte_tokenizer(), Template::Alpaca, ends)
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        error,
        "the tokenizer has no token 9999, the model's EOS: it does not belong to this model"
    );
}

/// A tokenizer.json may ask for truncation and padding; a prompt cut in silence would be a wrong prompt.
#[test]
fn the_tokenizers_own_truncation_and_padding_are_off() {
    let mut tokenizer = byte_tokenizer();
    let truncation = tokenizers::TruncationParams {
        max_length: 8,
        ..Default::default()
    };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    let strategy = tokenizers::PaddingStrategy::Fixed(64);
    tokenizer.with_padding(Some(tokenizers::PaddingParams {
        strategy,
        ..Default::default()
    }));
    let encoder = Encoder::new(tokenizer, Template::Raw, ends(false)).unwrap();
    assert_eq!(encoder.response(&"a".repeat(20)).unwrap().len(), 21);
}

fn example(n_prompt: usize, n: usize) -> Example {
    let mut ids: Vec<u32> = (0..n as u32).collect();
    ids[n - 1] = EOS;
    Example {
        ids,
        prompt_len: n_prompt,
        key: 0,
    }
}

#[test]
fn rows_longer_than_the_context_are_counted() {
    let rows = || vec![example(2, 5), example(2, 8), example(6, 9), example(3, 6)];
    let fit = |policy| data::fit_to_context(rows(), 6, policy);
    let dropped = fit(TooLong::Drop).unwrap();
    assert_eq!(dropped.items, [example(2, 5), example(3, 6)]);
    assert_eq!(
        (dropped.n_rows, dropped.n_dropped, dropped.n_truncated),
        (4, 2, 0)
    );
    let cut = fit(TooLong::TruncateResponse).unwrap();
    assert_eq!((cut.n_dropped, cut.n_truncated), (1, 1));
    assert_eq!(cut.items[1].ids, [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        fit(TooLong::Error).unwrap_err().to_string(),
        "row 2 of those in use has 8 tokens, more than the 6 allowed; raise max_len, or set too_long = \"drop\" or \"truncate_response\""
    );
    let pairs = vec![
        [example(2, 5), example(2, 8)],
        [example(2, 4), example(2, 6)],
    ];
    let pairs = data::fit_groups_to_context(pairs, 6, TooLong::Drop).unwrap();
    assert_eq!(pairs.items, [[example(2, 4), example(2, 6)]]);
    assert_eq!((pairs.n_rows, pairs.n_dropped), (2, 1));
}

#[test]
fn answers_without_eos_trip_the_wire() {
    let mut rows: Vec<Example> = (0..100).map(|_| example(2, 5)).collect();
    rows[0].ids[4] = 0;
    data::check_labels(&rows, EOS).unwrap();
    rows[1].ids[4] = 0;
    assert_eq!(
        data::check_labels(&rows, EOS).unwrap_err().to_string(),
        "only 98 of 100 examples end with the EOS token 257; a model trained on them would not learn to stop; look at the model's EOS token and chat template"
    );
    // nothing but prompts: no label at all
    let rows: Vec<Example> = (0..3).map(|_| example(5, 5)).collect();
    let error = data::check_labels(&rows, EOS).unwrap_err().to_string();
    assert!(
        error.starts_with("only 0 of 3 examples end with"),
        "{error}"
    );
}

#[test]
fn a_prompt_is_never_on_both_sides_of_the_split() {
    let items: Vec<(u64, usize)> = (0..600).map(|i| ((i % 100) as u64, i)).collect();
    let (train, held) = data::split_by_key(items.clone(), |i| i.0, 0.1, 7);
    let keys = |side: &[(u64, usize)]| side.iter().map(|i| i.0).collect::<BTreeSet<_>>();
    assert!(keys(&train).is_disjoint(&keys(&held)));
    assert_eq!(
        (
            keys(&train).len(),
            keys(&held).len(),
            train.len(),
            held.len()
        ),
        (90, 10, 540, 60)
    );
    let reversed: Vec<_> = items.iter().rev().copied().collect();
    assert_eq!(
        keys(&data::split_by_key(reversed, |i| i.0, 0.1, 7).1),
        keys(&held)
    );
    assert_ne!(
        keys(&data::split_by_key(items.clone(), |i| i.0, 0.1, 8).1),
        keys(&held)
    );
    assert_eq!(data::split_by_key(items.clone(), |i| i.0, 0.0, 7).1, []);
    assert_eq!(data::split_by_key(vec![1, 2], |i| *i, 0.001, 7).1.len(), 1);
    assert_eq!(
        data::split_by_key(vec![1, 1], |i| *i, 0.5, 7),
        (vec![1, 1], vec![])
    );
}

#[test]
fn the_loader_resumes_exactly() {
    let mut whole = Loader::new(10, 4, 3, Cursor::default());
    let mut cursors = vec![whole.cursor()];
    let batches: Vec<Vec<usize>> = (0..9)
        .map(|_| {
            let batch = whole.next_batch();
            cursors.push(whole.cursor());
            batch
        })
        .collect();
    assert_eq!(whole.batches_per_epoch(), 3);
    assert_eq!(
        batches.iter().map(Vec::len).collect::<Vec<_>>(),
        [4, 4, 2, 4, 4, 2, 4, 4, 2]
    );
    let epochs: Vec<Vec<usize>> = batches.chunks(3).map(|epoch| epoch.concat()).collect();
    for epoch in &epochs {
        assert_eq!(
            epoch.iter().copied().collect::<BTreeSet<_>>(),
            (0..10).collect()
        );
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    for (i, cursor) in cursors.iter().enumerate().take(9) {
        let json = serde_json::to_string(cursor).unwrap();
        let mut resumed = Loader::new(10, 4, 3, serde_json::from_str(&json).unwrap());
        let rest: Vec<Vec<usize>> = (i..9).map(|_| resumed.next_batch()).collect();
        assert_eq!(rest, batches[i..]);
    }
    assert_ne!(
        Loader::new(10, 10, 4, Cursor::default()).next_batch(),
        epochs[0]
    );
    assert!(
        Loader::new(0, 4, 3, Cursor::default())
            .next_batch()
            .is_empty()
    );
}
