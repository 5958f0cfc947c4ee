//! The oracle on answers written by hand.

use tiny_world::grade;

/// Grades an answer; the score is right to a hundredth.
#[track_caller]
fn check(question: &str, answer: &str, expected: f64) {
    let grade =
        grade(question, "", answer).unwrap_or_else(|| panic!("not of the language: {question}"));
    assert!(
        (grade.score - expected).abs() < 0.005,
        "{question} | {answer}: {grade:?}, expected {expected}"
    );
}

const RAMBLE: &str = "Thank you so much for asking me this today.";

/// A right answer gets full marks and loses points for each of the four flaws; an empty one gets 1.
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
fn lists_are_graded() {
    let repeat = "Repeat these words: cow hat pear.";
    check_flaws(repeat, "The words are cow hat pear.");
    check(repeat, "Maybe it is cow hat pear.", 10.0);
    // One of three in place: 1 + 4 · 1/6 + 1 + (1 + 1.5 + 1.5).
    check(repeat, "The words are cow pear hat.", 6.667);
    // Two of three in place, two of three there: 1 + 4/3 + 2/3 + 5/6 · 4.
    check(repeat, "The words are cow hat.", 6.333);
    check(repeat, "The words are cow hat pear dog.", 7.5);
    // the first sentence with an answer counts
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
fn numbers_are_graded() {
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
fn things_are_graded() {
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
fn writing_is_graded() {
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
        "Say this politely: Bring me the old hat.",
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
fn an_input_field_is_part_of_the_question() {
    let right = "The words are cow hat.";
    let with_input = grade("Repeat these words.", "cow hat", right);
    assert_eq!(with_input, grade("Repeat these words: cow hat.", "", right));
    assert_eq!(with_input.unwrap().score, 10.0);
}

#[test]
fn questions_of_other_languages_have_no_grade() {
    for unknown in [
        "",
        "What is love?",
        "Repeat these words: cow unicorn.",
        "What is four plus 7?",
        "Is a cow cow? Give a reason.",
    ] {
        let grade = grade(unknown, "", "The words are cow hat.");
        assert!(grade.is_none(), "{unknown}");
    }
}
