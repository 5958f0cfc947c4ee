//! Where clauses begin in a text, and which tokens begin them.

use crate::common::answer;
use crate::data::tokens::byte_encoder;
use data::{Encoder, Ends, Template, clause_starts, clause_tokens};
use tokenizers::Tokenizer;

/// `|` marks the beginning of a clause.
#[track_caller]
fn check(marked: &str) {
    let text = marked.replace('|', "");
    let mut cut = text.clone();
    for at in clause_starts(&text).into_iter().rev() {
        cut.insert(at, '|');
    }
    assert_eq!(cut, marked);
}

#[test]
fn clauses_begin_after_punctuation_at_line_breaks_and_before_conjunctions() {
    check("");
    check("|word");
    check("|It rains,| so we stay in.| Do you mind?| No!");
    check("|I know| that he left| because it rained| And stopped");
    check("|Pi is 3.14 not.so on");
    check("|She said:| \"Go.\"| (They went.)| Then nothing");
    check("|Colours:| red;| blue");
    // words that only begin like an opener, and text that begins with one
    check("|when android sofas iffy| But yes");
    // white space goes with what follows it, and is no clause
    check("|one|\n\n  two|\nthree");
    check("|A.|\n\nB.|  C. \n ");
    check("|  lead");
    check("|   ");
    check("|Grüße,| 你好。 Ja!");
}

/// The text of each clause when its tokens are decoded, without bytes that are not text.
fn parts(encoder: &Encoder, ids: &[u32], flags: &[bool]) -> Vec<String> {
    let mut parts: Vec<Vec<u32>> = Vec::new();
    for (id, start) in ids.iter().zip(flags) {
        match parts.last_mut() {
            Some(part) if !start => part.push(*id),
            _ => parts.push(vec![*id]),
        }
    }
    let decode = |part: &Vec<u32>| encoder.decode(part).unwrap();
    parts.iter().map(decode).collect()
}

#[test]
fn clauses_are_cut_between_characters_of_any_length() {
    // a token a byte
    let encoder = byte_encoder();
    let text = "Ça va,| äußerst gut| und ｡，𝄞";
    let marks: Vec<&str> = text.split('|').collect();
    let text = marks.concat();
    let ids = answer(&encoder, &text);
    assert_eq!(ids.len(), text.len() + 1);
    let offsets = encoder.offsets(&ids, &text).unwrap();
    let of_char = |byte: usize| {
        (0..=byte)
            .rev()
            .find(|b| text.is_char_boundary(*b))
            .unwrap()
    };
    let wanted: Vec<usize> = (0..=text.len()).map(of_char).collect();
    assert_eq!(offsets, wanted);
    // from each character on a clause
    let chars: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let flags = clause_tokens(&offsets, &chars);
    let cut = parts(&encoder, &ids, &flags);
    let each: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(cut, each);
    let starts = [0, marks[0].len(), marks[0].len() + marks[1].len()];
    assert_eq!(
        parts(&encoder, &ids, &clause_tokens(&offsets, &starts)),
        marks
    );
}

#[test]
fn a_clause_begins_with_the_token_that_holds_its_first_character() {
    // a token " but" begins at the blank, a parser's clause at the b
    let offsets = [0, 3, 5, 9, 9, 12];
    let of = |starts: &[usize]| {
        let flags = clause_tokens(&offsets, starts);
        (0..offsets.len()).filter(|t| flags[*t]).collect::<Vec<_>>()
    };
    assert_eq!(of(&[0, 5]), [0, 2]);
    assert_eq!(of(&[0, 6]), [0, 2]);
    assert_eq!(of(&[8]), [2]);
    // the first part of a character, and the last token
    assert_eq!(of(&[9]), [3]);
    assert_eq!(of(&[40]), [5]);
    assert!(of(&[]).is_empty());
    assert!(clause_tokens(&[], &[0]).is_empty());
}

#[test]
fn clauses_are_the_same_for_real_tokenizers() {
    for name in ["tiny-llama/untied", "tiny-llama/llama3"] {
        let path = format!(
            "{}/golden/{name}/tokenizer.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let tokenizer = Tokenizer::from_file(path).unwrap();
        let ends = Ends {
            bos: None,
            add_bos: false,
            eos: 2,
            stop: vec![2],
        };
        let encoder = Encoder::new(tokenizer, Template::Raw, ends).unwrap();
        let ids = answer(&encoder, "the cat, but the dog");
        let text = encoder.decode(&ids).unwrap();
        let offsets = encoder.offsets(&ids, &text).unwrap();
        let by_us = clause_tokens(&offsets, &clause_starts(&text));
        let but = text.find("but").unwrap();
        let by_parser = clause_tokens(&offsets, &[0, but]);
        let trimmed = |flags: &[bool]| -> Vec<String> {
            let parts = parts(&encoder, &ids, flags);
            parts.iter().map(|part| part.trim().to_string()).collect()
        };
        let wanted = ["the cat,", "but the dog"];
        assert_eq!(trimmed(&by_parser), wanted, "{name}");
        assert_eq!(trimmed(&by_us), wanted, "{name}");
    }
}
