//! Token ids of prompts and answers.

use super::batches::fit;
use super::file;
use super::templates::{chat_template, golden_templates};
use crate::common::{answer, chat, instruction, prompt};
use data::{Ask, Encoder, Ends, Format, Template, TooLong};
use std::collections::BTreeSet;
use tokenizers::{AddedToken, Tokenizer};

pub const BOS: u32 = 256;

pub const EOS: u32 = 257;

const IM_START: u32 = 258;

const IM_END: u32 = 259;

/// One token per byte, then the special tokens.
pub fn byte_tokenizer() -> Tokenizer {
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

pub fn ends(add_bos: bool) -> Ends {
    Ends {
        bos: Some(BOS),
        add_bos,
        eos: EOS,
        stop: vec![EOS],
    }
}

/// No template, one token per byte.
pub fn byte_encoder() -> Encoder {
    encoder(Template::Raw, false)
}

pub fn encoder(template: Template, add_bos: bool) -> Encoder {
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
        assert_eq!(after, answer(&encoder, "Ja."));
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
    // a second BOS in the text is an error
    let twice = encoder(chat_template(with), true).prompt(&prompt(instruction("<s>a", "")));
    assert_eq!(
        twice.unwrap_err().to_string(),
        "a prompt begins with two BOS tokens (<s>); remove one from the data or from the chat template"
    );
    // a ready-made prompt has it; under Alpaca's template `<s>` is text, so BOS is still added
    let ids = |template| encoder(template, true).prompt(&prompt(instruction("<s>a", "")));
    assert_eq!(ids(Template::Raw).unwrap(), [BOS, u32::from(b'a') - 33]);
    let ids = ids(Template::Alpaca).unwrap();
    assert_eq!(ids.iter().filter(|id| **id == BOS).count(), 1);
}

/// A byte is a token here.
#[test]
fn of_a_text_far_beyond_the_limit_only_a_piece_is_tokenised() {
    let bounded = byte_encoder().within(100);
    let whole = byte_encoder();
    let long = "é".repeat(5_000_000);
    for text in ["a", &long[..200], &long[..800]] {
        assert_eq!(answer(&bounded, text), answer(&whole, text));
    }
    let ids = answer(&bounded, &long);
    assert!((200..3000).contains(&ids.len()), "{}", ids.len());
    let same = answer(&whole, &long[..200]);
    assert_eq!(ids[..200], same[..200]);
    let row = prompt(instruction(&long, ""));
    assert!((200..3000).contains(&bounded.prompt(&row).unwrap().len()));
    let example = bounded
        .example(&prompt(instruction("a", "")), &long)
        .unwrap();
    let cut = fit(vec![[example.clone()]], 100, TooLong::TruncateResponse);
    let expected = whole
        .example(&prompt(instruction("a", "")), &long[..200])
        .unwrap();
    assert_eq!(cut.unwrap().0[0][0].ids, expected.ids[..100]);
    let error = fit(vec![[example]], 100, TooLong::Error).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tokens or more, more than data.max_len = 100")
    );
}

#[test]
fn an_error_of_the_template_names_file_and_row() {
    let rows = ["a", "b", "stop"].map(|text| format!(r#"{{"instruction": "{text}"}}"#));
    let (_dir, path) = file("rows.jsonl", rows.join("\n\n"));
    let prompts = data::prompts(&path, Format::Auto).unwrap().items;
    let raises = "{% if 'stop' in messages[0].content %}{{ raise_exception('No.') }}{% endif %}\
                  {{ messages[0].content }}";
    let chat = encoder(chat_template(raises), false);
    chat.prompt(&prompts[1]).unwrap();
    let expected = format!("{}: row 5: chat template (line 1): No.", path.display());
    assert_eq!(chat.prompt(&prompts[2]).unwrap_err().to_string(), expected);
    let example = chat.example(&prompts[2], "b");
    assert_eq!(example.unwrap_err().to_string(), expected);
}

#[test]
fn a_chat_template_that_leaves_out_a_turn_is_refused() {
    let no_system = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content | trim }}\n\
                     {% endif %}{% endfor %}";
    let chat_encoder = encoder(chat_template(no_system), false);
    let with = |role: &str, text: &str| {
        let turns = [
            ("user", "Hi. "),
            ("assistant", "Ho."),
            (role, text),
            ("user", "Bye."),
        ];
        chat_encoder.prompt(&prompt(chat(&turns)))
    };
    with("assistant", "Ha.").unwrap();
    let error = with("system", "Be kind.").unwrap_err().to_string();
    assert_eq!(
        error,
        "the chat template leaves out the system turn \"Be kind.\"; remove such turns, or set \
         model.template = \"alpaca\" or \"raw\""
    );
    // reasoning is taken out of earlier turns on purpose
    let short = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}";
    let turns = [
        ("user", "Hi."),
        ("assistant", "Hm.</think>Ho."),
        ("user", "Bye."),
    ];
    let ids = encoder(chat_template(short), false).prompt(&prompt(chat(&turns)));
    assert_eq!(ids.unwrap().len(), "Hi.Ho.Bye.".len());
}

#[test]
fn special_tokens_in_data_are_text() {
    let encoder = encoder(Template::Alpaca, false);
    let ids = answer(&encoder, "a</s>b");
    assert_eq!(ids.len(), 7);
    assert_eq!(ids.iter().filter(|id| **id == EOS).count(), 1);
    assert_eq!(encoder.decode(&ids).unwrap(), "a</s>b");
}

/// The template's end token counts, whatever the model's file names as EOS.
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

/// tokenizer.json may ask for both.
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
    assert_eq!(answer(&encoder, &"a".repeat(20)).len(), 21);
}

/// Llama 3 has two end tokens. Training writes one of them, and only that one is read by a reward
/// model.
#[test]
fn a_second_end_token_gives_way_to_eos() {
    let period = u32::from(b'.');
    let ends = Ends {
        stop: vec![EOS, IM_END, period],
        ..ends(false)
    };
    let encoder = Encoder::new(byte_tokenizer(), Template::Raw, ends).unwrap();
    let ended = |ids: &[u32], context: usize| encoder.ended_as_trained(ids, 2, context);
    assert_eq!(ended(&[7, 8, 9, EOS], 9), [7, 8, 9, EOS]);
    assert_eq!(
        ended(&[7, 8, 9, IM_END], 9),
        [7, 8, 9, EOS],
        "a token of its own: in place of it"
    );
    assert_eq!(
        ended(&[7, 8, 9, period], 9),
        [7, 8, 9, period, EOS],
        "text: after it"
    );
    assert_eq!(
        ended(&[7, 8, 9, period], 4),
        [7, 8, 9, EOS],
        "no room for one more"
    );
    assert_eq!(ended(&[7, 8, 9], 9), [7, 8, 9], "cut off");
    assert_eq!(
        ended(&[7, period], 9),
        [7, period],
        "a stop token of the prompt ends nothing"
    );
    // as the text of the response would be trained on
    let answer = |text: &str| {
        encoder
            .answer(&prompt(Ask::Raw("ab".into())), text)
            .unwrap()
    };
    for response in [vec![9, IM_END], vec![9, period, 10, period]] {
        let text = encoder.decode(&response).unwrap();
        let whole = [&[7, 8], &response[..]].concat();
        assert_eq!(answer(&text), ended(&whole, 9)[2..]);
    }
}
