//! What other trainers leave in the texts of data, and what chat templates do to an answer.

use super::batches::{fit, lost_ends};
use super::templates::chat_template;
use super::tokens::{BOS, EOS, byte_tokenizer, encoder, ends};
use super::{file, tokens};
use crate::common::{answer, chat, instruction, prompt};
use data::{Ask, Encoder, Format, Prompt, Template, TooLong};
use tokenizers::AddedToken;

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn templates() -> [Template; 3] {
    [Template::Alpaca, Template::Raw, chat_template(CHATML)]
}

fn ids_of(encoder: &Encoder, ask: &Ask, text: &str) -> Vec<u32> {
    encoder.answer(&prompt(ask.clone()), text).unwrap()
}

#[test]
fn special_tokens_at_the_end_of_an_answer_are_cut_off() {
    for template in templates() {
        let encoder = encoder(template, false);
        for ask in [
            instruction("a", ""),
            chat(&[("user", "a")]),
            Ask::Raw(String::new()),
        ] {
            let plain = ids_of(&encoder, &ask, "Hi.");
            assert!(encoder.row_notes("training").is_empty());
            for text in [
                "Hi.</s>",
                "Hi. </s>\n",
                "Hi.<|im_end|>\n</s>",
                "Hi.<s></s></s>",
            ] {
                assert_eq!(ids_of(&encoder, &ask, text), plain, "{text:?}");
            }
            let expected = "training rows: the special token at the end of 4 answers (\"</s>\" 4, \
                            \"<s>\" 1, \"<|im_end|>\" 1; first: a prompt) is cut off: each answer \
                            gets its end token in any case";
            assert_eq!(encoder.row_notes("training"), [expected]);
        }
    }
    // a model may write such text, and it stays what it is
    let encoder = encoder(Template::Alpaca, false);
    let question = prompt(instruction("a", ""));
    let drawn = encoder.drawn_example(&question, "Hi.</s>").unwrap();
    assert_eq!(
        encoder.decode(&drawn.ids[drawn.prompt_len..]).unwrap(),
        "Hi.</s>"
    );
    assert!(encoder.row_notes("training").is_empty());
    assert_eq!(encoder.without_end(&question, "Hi.</s> "), "Hi.");
    // nothing but an end is an answer without tokens
    let only = encoder.example(&question, "</s>").unwrap();
    let (_, counts) = fit(vec![[only]], 500, TooLong::Drop).unwrap();
    assert_eq!(counts.n_empty, 1);
}

/// The tokenizer knows its tokens; no list of names does.
#[test]
fn special_tokens_of_any_name_are_found() {
    let mut tokenizer = byte_tokenizer();
    let special = AddedToken::from("~~stop~~", true);
    tokenizer.add_special_tokens([special]).unwrap();
    let text = AddedToken::from("~~bold~~", false);
    tokenizer.add_tokens([text]).unwrap();
    let encoder = Encoder::new(tokenizer, Template::Alpaca, ends(false)).unwrap();
    let plain = ids_of(&encoder, &instruction("a", ""), "Hi.");
    assert_eq!(
        ids_of(&encoder, &instruction("a", ""), "Hi.~~stop~~"),
        plain
    );
    let bold = ids_of(&encoder, &instruction("a", ""), "Hi.~~bold~~");
    assert_eq!(bold.len(), plain.len() + 1);
    let notes = encoder.row_notes("training");
    assert!(
        notes.len() == 1 && notes[0].contains("1 answer (\"~~stop~~\" 1;"),
        "{notes:?}"
    );
    for (i, text) in ["x ~~stop~~ y", "~~stop~~~~stop~~ y </s> z", "none"]
        .iter()
        .enumerate()
    {
        ids_of(&encoder, &instruction(&format!("{i} {text}"), ""), text);
    }
    let notes = encoder.row_notes("training");
    assert_eq!(notes.len(), 2, "{notes:?}");
    for (note, noun) in notes.iter().zip(["prompts", "answers"]) {
        let found = format!("in 2 {noun} (\"</s>\" 1, \"~~stop~~\" 2; first: a prompt)");
        assert!(note.contains(&found), "{note}");
    }
}

#[test]
fn special_tokens_in_a_prompt_are_what_its_note_says() {
    let ask = instruction("a</s>b", "");
    let n_eos = |encoder: &Encoder| {
        let ids = encoder.prompt(&prompt(ask.clone())).unwrap();
        ids.iter().filter(|id| **id == EOS).count()
    };
    for (template, n, what) in [
        (Template::Alpaca, 0, "special tokens in them are text;"),
        (
            chat_template(CHATML),
            1,
            "special tokens in them are tokens;",
        ),
    ] {
        let encoder = encoder(template, false);
        assert_eq!(n_eos(&encoder), n);
        let notes = encoder.row_notes("held-out");
        assert!(notes.len() == 1 && notes[0].contains(what), "{notes:?}");
    }
    let raw = encoder(Template::Raw, false);
    assert_eq!(n_eos(&raw), 1);
    assert!(raw.row_notes("held-out").is_empty());
}

/// A ready-made prompt under `raw` has the ids that the template would give.
#[test]
fn ready_made_prompts_are_read_as_they_are() {
    let question = prompt(chat(&[("user", "Hi.")]));
    let template = chat_template(CHATML);
    let text = template.render(&question.ask).unwrap();
    let by_template = encoder(template, true).example(&question, "Ho.").unwrap();
    let raw = encoder(Template::Raw, true);
    let ready = raw.example(&prompt(instruction(&text, "")), "Ho.").unwrap();
    let (end, before) = ready.ids.split_last().unwrap();
    assert_eq!(before, &by_template.ids[..by_template.ids.len() - 1]);
    assert_eq!((*end, ready.prompt_len), (EOS, by_template.prompt_len));
    assert_eq!(ready.ids[0], BOS);
}

#[test]
fn texts_with_ready_made_conversations_are_named() {
    let rows = [
        "{\"text\": \"<s>[INST] Hi. [/INST] Ho. </s>\"}",
        "{\"text\": \"Once upon a time.\"}",
    ];
    let (_dir, path) = file("x.jsonl", rows.join("\n"));
    let encoder = encoder(Template::Raw, false);
    for d in data::demonstrations(&path, Format::Auto).unwrap().items {
        encoder.example(&d.prompt, &d.response).unwrap();
    }
    let notes = encoder.row_notes("training");
    let first = format!("first: {}: row 1)", path.display());
    let texts = format!(
        "training rows: special tokens or marks of a ready-made conversation in 1 text (\"<s>\" 1, \
         \"[INST]\" 1; {first} are learnt as text, and so is every turn; to learn the answers only, \
         set data.format = \"transcript\" or write rows of \"messages\""
    );
    assert_eq!(notes[0], texts);
    assert!(notes[1].contains(&format!("1 answer (\"</s>\" 1; {first} is cut off")));
}

/// Reasoning is taken out of earlier turns on purpose, not out of the answer.
#[test]
fn an_answer_that_a_template_cuts_or_changes_is_learnt_whole() {
    let around = |content: &str| {
        let source = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
                      {% if m.role == 'assistant' %}CONTENT{% else %}{{ m.content }}{% endif %}\
                      <|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
        encoder(chat_template(&source.replace("CONTENT", content)), false)
    };
    let question = prompt(chat(&[("user", "Hi.")]));
    let text = "<think>\nWell, let me see.</think> Oh  Ho, and so on.";
    let whole = around("{{ m.content }}").answer(&question, text).unwrap();
    for content in [
        "{{ m.content.split('</think>')[-1] }}",
        "{{ m.content[:40] }}",
        "{{ m.content | lower }}",
    ] {
        let encoder = around(content);
        assert_eq!(encoder.answer(&question, text).unwrap(), whole, "{content}");
        let expected = "training rows: the chat template leaves out or changes a part of 1 answer \
                        (first: a prompt, \"<think>\\nWell, let me see.</think> Oh  Ho\"); the whole answer is \
                        learnt, as the model will write it; remove that part from the data if it is \
                        not to be learnt";
        assert_eq!(encoder.row_notes("training"), [expected], "{content}");
        let short = encoder.answer(&question, "ho.").unwrap();
        assert_eq!(short.len(), "ho.".len() + 1);
        assert!(encoder.row_notes("training").is_empty(), "{content}");
    }
    // white space around the parts is the template's
    let spaced = around("{{ m.content | replace('</think>', '\n</think>\n\n') }}");
    let ids = spaced.answer(&question, text).unwrap();
    let expected = "<think>\nWell, let me see.\n</think>\n\n Oh  Ho, and so on.";
    assert_eq!(spaced.decode(&ids).unwrap(), expected);
    assert!(spaced.row_notes("training").is_empty());
    // an earlier turn may lose its reasoning
    let turns = [("user", "Hi."), ("assistant", text), ("user", "Bye.")];
    let earlier = around("{{ m.content.split('</think>')[-1] }}");
    earlier.prompt(&prompt(chat(&turns))).unwrap();
    assert!(earlier.row_notes("training").is_empty());
}

/// The header of an answer is not learnt, whether the template has a generation prompt or not.
#[test]
fn a_header_without_a_generation_prompt_ends_the_prompts() {
    let (without, _) = CHATML.split_once("{% if").unwrap();
    let (with, without) = (
        encoder(chat_template(CHATML), false),
        encoder(chat_template(without), false),
    );
    let question = prompt(chat(&[("user", "Hi.")]));
    let expected = with.example(&question, "Ho.").unwrap();
    assert_eq!(without.example(&question, "Ho.").unwrap(), expected);
    assert_eq!(
        without.prompt(&question).unwrap(),
        with.prompt(&question).unwrap()
    );
    let note = "the chat template has no generation prompt: \"<|im_start|>assistant\\n\", which it \
                writes before an answer, ends the prompts";
    assert_eq!(without.notes(), [note]);
    assert!(with.notes().is_empty());
    assert!(without.row_notes("training").is_empty());
    // a text has no header
    assert_eq!(answer(&without, "Ho."), answer(&with, "Ho."));
}

/// An empty block of reasoning is the model's own, as Qwen3's.
#[test]
fn what_a_template_writes_before_an_answer_is_said() {
    let source = CHATML.replace(
        "{{ m.content }}",
        "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}",
    );
    let encoder = encoder(chat_template(&source), false);
    let ids = ids_of(&encoder, &chat(&[("user", "Hi.")]), "Ho.");
    assert_eq!(encoder.decode(&ids).unwrap(), "<think>\n\n</think>\n\nHo.");
    let note = "the chat template writes \"<think>\\n\\n</think>\" before an answer, after the \
                generation prompt: it is learnt as the beginning of each answer, and rewards see it";
    assert_eq!(encoder.notes(), [note]);
}

#[test]
fn answers_that_lose_their_end_to_truncation_are_counted() {
    let encoder = tokens::byte_encoder();
    let question = Prompt::new(Ask::Raw("a".into()), None);
    let fit = |lens: &[usize]| {
        let rows = lens
            .iter()
            .map(|n| Ok([encoder.example(&question, &"b".repeat(*n))?]));
        let rows = rows.collect::<data::Result<Vec<_>>>().unwrap();
        let (rows, _) = self::fit(rows, 10, TooLong::TruncateResponse).unwrap();
        lost_ends(rows.as_flattened())
    };
    assert_eq!(fit(&[3, 4]).note("training"), None);
    let some = fit(&[3, 20, 30]);
    assert_eq!((some.n_lost, some.n_answers), (2, 3));
    let note = "training rows: truncation takes the end token from 2 of 3 answers (67 %), and the \
                model learns not to stop there; raise data.max_len, or set data.too_long = \"drop\"";
    assert_eq!(some.note("training").as_deref(), Some(note));
    some.require("training").unwrap();
    let mut lens = vec![3; 99];
    lens.push(20);
    assert_eq!(fit(&lens).note("training"), None, "one in a hundred");
    let all = fit(&[20, 30]);
    let error = all.require("training").unwrap_err().to_string();
    let expected = "training rows: truncation takes the end token from all 2 answers, so the model \
                    could not learn to stop; raise data.max_len, or set data.too_long = \"drop\"";
    assert_eq!(error, expected);
}

/// A run that began before answers were learnt whole goes on with the ids it has learnt so far.
#[test]
fn old_runs_keep_their_ids() {
    let encoder = encoder(Template::Alpaca, false);
    let ask = instruction("a", "");
    let cut = ids_of(&encoder, &ask, "Hi.</s>");
    let old = ids_of(&encoder.for_old_runs(), &ask, "Hi.</s>");
    assert_eq!(
        (cut.len() + 4, &cut[cut.len() - 1]),
        (old.len(), &old[old.len() - 1])
    );
    // A header was neither in the prompts nor in the answers.
    let (without, _) = CHATML.split_once("{% if").unwrap();
    let template = chat_template(without);
    let question = prompt(chat(&[("user", "Hi.")]));
    let text = template.render(&question.ask).unwrap();
    let encoder = self::encoder(template, false).for_old_runs();
    assert!(encoder.notes().is_empty());
    let ids = encoder.prompt(&question).unwrap();
    let whole = encoder.example(&question, "Ho.").unwrap();
    assert_eq!(encoder.decode(&whole.ids[ids.len()..]).unwrap(), "Ho.");
    let marked = prompt(Ask::Raw(text));
    assert_eq!(ids, encoder.prompt(&marked).unwrap());
}
