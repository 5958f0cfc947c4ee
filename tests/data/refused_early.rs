//! Rows that cannot be used are refused before others are read or tokenised, and by their place.

use super::prepared::Place;
use super::templates::chat_template;
use super::tokens::{byte_encoder, encoder};
use data::{Demonstration, Look, Preparing};

/// While its place is known, as in memory.
#[test]
fn a_held_out_prompt_that_cannot_be_rendered_is_named() {
    let place = Place::new();
    let eval = place.dir.path().join("eval.jsonl");
    let row = |n: &str| format!("{{\"prompt\": \"Row {n}.\", \"completion\": \"b\"}}\n");
    std::fs::write(&eval, ["one", "ten", "two"].map(row).concat()).unwrap();
    let raises = "{% for m in messages %}{% if 'ten' in m.content %}{{ raise_exception('No tens.') }}\
                  {% endif %}{{ m.content }}{% endfor %}";
    let encoder = encoder(chat_template(raises), false).within(70);
    for memory_mb in [256, 0] {
        let config = place.config(memory_mb, &format!("eval_path = {eval:?}"));
        let preparing = Preparing {
            keeps_prompts: true,
            ..place.preparing(&config)
        };
        let error = preparing.rows(&encoder, &mut ()).err().unwrap().to_string();
        assert!(
            error.ends_with("eval.jsonl: row 2: chat template (line 1): No tens."),
            "{error}"
        );
    }
}

#[test]
fn a_missing_file_is_named_before_another_is_read() {
    let place = Place::new();
    std::fs::write(place.data(), "no row").unwrap();
    let error = |more: &str| {
        let prepared = place.prepare(&place.config(256, more));
        prepared.err().unwrap().to_string()
    };
    assert!(error("").contains("rows.jsonl: is not JSON"));
    let missing = error("eval_path = \"missing.jsonl\"");
    assert!(
        missing.starts_with("missing.jsonl: cannot be read: "),
        "{missing}"
    );
}

/// Counts the rows, and refuses them.
#[derive(Default)]
struct Refuses(usize);

impl Look<Demonstration> for Refuses {
    fn see(&mut self, _: &Demonstration, _: bool) {
        panic!("it is tokenised");
    }

    fn count(&mut self, _: &Demonstration) {
        self.0 += 1;
    }

    fn check(&self) -> data::Result<()> {
        Err(data::Error(format!("{} of no use", self.0)))
    }

    fn finish(&mut self) -> data::Result<Vec<String>> {
        unreachable!()
    }

    fn identity(&self) -> String {
        String::new()
    }
}

#[test]
fn rows_that_cannot_be_used_are_refused_before_they_are_tokenised() {
    let place = Place::new();
    let config = place.config(0, "");
    let preparing = place.preparing(&config);
    let rows = preparing.rows(&byte_encoder().within(70), &mut Refuses::default());
    assert_eq!(rows.err().unwrap().to_string(), "200 of no use");
}
