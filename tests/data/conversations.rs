//! `data.train_on`: which tokens of a conversation are learnt.

use super::templates::chat_template;
use super::tokens::{EOS, byte_tokenizer, encoder};
use crate::common::{chat, prompt};
use data::{Ask, Demonstration, Example, Template};

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// As the template of a model that marks what the assistant writes, with the line break after it.
const TAGGED: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
    {% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>\n{% endgeneration %}\
    {% else %}{{ m.content }}<|im_end|>\n{% endif %}\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Leaves the reasoning out of earlier answers.
const FORGETS: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
    {% if not loop.last and '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}\
    {% else %}{{ m.content }}{% endif %}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn row(ask: Ask, response: &str) -> Demonstration {
    Demonstration {
        prompt: prompt(ask),
        response: response.to_string(),
        fields: Default::default(),
    }
}

/// Three answers, the last one included.
fn conversation() -> Demonstration {
    let turns = [
        ("system", "Be kind."),
        ("user", "1?"),
        ("assistant", "One."),
        ("user", "2?"),
        ("assistant", "Zwei ☂."),
        ("user", "3?"),
    ];
    row(chat(&turns), "Three.")
}

/// The texts that are learnt.
fn learnt(example: &Example) -> Vec<String> {
    let tokenizer = byte_tokenizer();
    let ranges = example.labels();
    let texts = ranges.map(|range| tokenizer.decode(&example.ids[range], false).unwrap());
    texts.collect()
}

#[test]
fn every_answer_of_a_conversation_is_learnt_in_one_sequence() {
    let encoder = encoder(chat_template(CHATML), false);
    let [example] = &encoder.conversation(&conversation()).unwrap()[..] else {
        panic!("one sequence");
    };
    let ends = ["One.<|im_end|>", "Zwei ☂.<|im_end|>", "Three.<|im_end|>"];
    assert_eq!(learnt(example), ends);
    // the last answer alone is the same sequence with a longer prompt
    let row = conversation();
    let last = encoder.example(&row.prompt, &row.response).unwrap();
    assert_eq!((&last.ids, last.key), (&example.ids, example.key));
    assert_eq!(learnt(&last), ends[2..]);
    assert!(example.has_end(encoder.ends().eos) && last.has_end(encoder.ends().eos));
    let n: usize = ends
        .iter()
        .map(|text| text.len() - "<|im_end|>".len() + 1)
        .sum();
    assert_eq!(example.n_labels(), n);
    assert_eq!(encoder.row_notes("training"), [""; 0]);
}

#[test]
fn generation_blocks_say_what_is_learnt() {
    let encoder = encoder(chat_template(TAGGED), false);
    let [example] = &encoder.conversation(&conversation()).unwrap()[..] else {
        panic!("one sequence");
    };
    let marked = [
        "One.<|im_end|>\n",
        "Zwei ☂.<|im_end|>\n",
        "Three.<|im_end|>\n",
    ];
    assert_eq!(learnt(example), marked);
    assert!(
        example.has_end(encoder.ends().eos),
        "the line break may follow"
    );
    // one whose answer holds the text of a special token is learnt as text, turn by turn
    let row = row(
        chat(&[("user", "a"), ("assistant", "x</s>y"), ("user", "b")]),
        "Ho.",
    );
    let examples = encoder.conversation(&row).unwrap();
    let texts: Vec<_> = examples.iter().map(learnt).collect();
    assert_eq!(texts, [["x</s>y<|im_end|>"], ["Ho.<|im_end|>"]]);
    assert!(!examples[0].ids.contains(&EOS), "the text is no token");
    // the marks that are put around blocks are none of the data's
    for text in [
        "\u{fdd0}0\u{fdd1}learn me\u{fdd1}0\u{fdd0}",
        "\u{fdd0}0\u{fdd1}",
        "\u{fdd1}0\u{fdd0}",
    ] {
        let row = self::row(chat(&[("user", text)]), text);
        let [example] = &encoder.conversation(&row).unwrap()[..] else {
            panic!("one sequence");
        };
        assert_eq!(learnt(example), [format!("{text}<|im_end|>\n")]);
    }
    // nor are blocks inside each other guessed at
    let nested = TAGGED.replace(
        "{{ m.content }}<|im_end|>\n{% endgen",
        "{% generation %}x{% endgeneration %}{% endgen",
    );
    let nested = self::encoder(chat_template(&nested), false);
    let error = nested
        .conversation(&conversation())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "chat template: its {% generation %} blocks are inside each other"
    );
    // blocks that mark nothing teach nothing
    let nothing = CHATML.replace(
        "{% endfor %}",
        "{% endfor %}{% generation %}{% endgeneration %}",
    );
    let encoder = self::encoder(chat_template(&nothing), false);
    let error = encoder
        .conversation(&conversation())
        .unwrap_err()
        .to_string();
    let expected = "the chat template's {% generation %} blocks mark no token of this conversation; \
                    set data.train_on = \"last\"";
    assert_eq!(error, expected);
}

#[test]
fn answers_whose_context_is_another_are_examples_of_their_own() {
    let turns = [
        ("user", "1?"),
        ("assistant", "<think>hm</think>One."),
        ("user", "2?"),
        ("assistant", "Two."),
        ("user", "3?"),
    ];
    let row = row(chat(&turns), "Three.");
    for (template, expected) in [
        (
            chat_template(FORGETS),
            vec![
                vec!["<think>hm</think>One.<|im_end|>"],
                vec!["Two.<|im_end|>", "Three.<|im_end|>"],
            ],
        ),
        (
            Template::Alpaca,
            vec![
                vec!["<think>hm</think>One.</s>"],
                vec!["Two.</s>"],
                vec!["Three.</s>"],
            ],
        ),
    ] {
        let encoder = encoder(template, false);
        let examples = encoder.conversation(&row).unwrap();
        let texts: Vec<_> = examples.iter().map(learnt).collect();
        assert_eq!(texts, expected);
        // each has the context of generation
        for example in &examples {
            assert_eq!(example.key, row.prompt.key());
        }
        let asked = prompt(chat(&turns[..1]));
        let first = &examples[0];
        assert_eq!(
            first.ids[..first.prompt_len],
            encoder.prompt(&asked).unwrap()
        );
        let n = expected.len() - 1;
        let answers = if n == 1 { "1 answer" } else { "2 answers" };
        let note = format!(
            "training rows: {answers} inside conversations are examples of their own, each after \
             the turns before it (first: a prompt): the template has no end token there, or changes \
             earlier turns"
        );
        assert_eq!(encoder.row_notes("training"), [note]);
    }
}

/// An answer that says nothing, and one whose question the template cannot write, are context.
#[test]
fn what_cannot_be_learnt_is_context() {
    let turns = [
        ("assistant", "Welcome."),
        ("user", "1?"),
        ("assistant", " "),
        ("user", "2?"),
    ];
    let row = row(chat(&turns), "Two.");
    let encoder = encoder(chat_template(CHATML), false);
    let examples = encoder.conversation(&row).unwrap();
    assert_eq!(examples.len(), 1);
    assert_eq!(
        learnt(&examples[0]),
        ["Welcome.<|im_end|>", "Two.<|im_end|>"]
    );
    let encoder = self::encoder(Template::Alpaca, false);
    let examples = encoder.conversation(&row).unwrap();
    assert_eq!(examples.len(), 1);
    assert_eq!(learnt(&examples[0]), ["Two.</s>"]);
    let note = "training rows: 1 answer inside conversations are context only: the template cannot \
                write the turns before them alone (first: a prompt)";
    assert_eq!(encoder.row_notes("training"), [note]);
}

/// A text of which only a piece is tokenised is too long, not a shorter conversation.
#[test]
fn a_long_conversation_is_no_short_one() {
    let long = "word ".repeat(20_000);
    let turns = [("user", "a"), ("assistant", "Hi."), ("user", long.as_str())];
    let row = row(chat(&turns), "Ho.");
    for template in [TAGGED, CHATML] {
        let encoder = encoder(chat_template(template), false).within(50);
        let examples = encoder.conversation(&row).unwrap();
        let longest = examples.iter().map(|e| e.ids.len()).max().unwrap();
        assert!(longest > 100, "{longest}");
    }
}

#[test]
fn a_conversation_is_truncated_after_a_whole_answer() {
    let encoder = encoder(chat_template(CHATML), false);
    let whole = encoder.conversation(&conversation()).unwrap().remove(0);
    let texts = learnt(&whole);
    for max_len in 0..=whole.ids.len() {
        let mut cut = whole.clone();
        cut.truncate(max_len);
        let n_whole = whole.labels().filter(|range| range.end <= max_len).count();
        match n_whole {
            0 => assert_eq!(cut.ids.len(), max_len, "the first answer is cut"),
            n => {
                assert_eq!(learnt(&cut), texts[..n], "{max_len}");
                assert!(cut.has_end(encoder.ends().eos), "{max_len}");
            }
        }
    }
}
