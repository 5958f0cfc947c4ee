//! The tasks with reference answers: translation and summaries.

use super::{field, rows};
use std::collections::HashSet;

#[test]
fn recipes_have_right_references_and_flawed_demonstrations() {
    // the rule of each task, written again from the text alone
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
