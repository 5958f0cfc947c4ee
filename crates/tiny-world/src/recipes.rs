//! Two tasks with reference answers for metric rewards: translation into an invented language,
//! Tolan (BLEU), and summaries of a few sentences (ROUGE-L). Each has demonstrations of mixed
//! quality, prompts with right answers for RL, and held-out prompts.

use crate::files::{File, array, stream};
use crate::language::{KINDS, OPPOSITES, capital};
use rand::{Rng as _, seq::IndexedRandom as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng as Rng;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const N_DEMONSTRATIONS: usize = 2000;
const N_PROMPTS: usize = 400;
const N_HELD_OUT: usize = 200;
/// Verbs in English and Tolan.
const VERBS: [(&str, &str); 4] = [
    ("sees", "mira"),
    ("likes", "sove"),
    ("finds", "tuka"),
    ("takes", "pelo"),
];
/// Things used of each kind.
const THINGS_PER_KIND: usize = 4;
const N_QUALITIES: usize = 12;

const TRANSLATE: &str = "Translate into Tolan.";
const SUMMARISE: &str = "Sum up the text in one sentence.";

/// The flaw of a demonstration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// English word order; or the first sentences copied.
    Lazy,
    /// One word not translated; or a fact about another thing.
    Wrong,
    /// A needless sentence at the end.
    Rambling,
    /// The second half of the words is missing.
    Cut,
}

/// Draws a flaw. Four in ten demonstrations have none.
fn flaw(rng: &mut Rng) -> Flaw {
    match rng.random_range(0..20) {
        0..8 => Flaw::None,
        8..12 => Flaw::Lazy,
        12..15 => Flaw::Wrong,
        15..18 => Flaw::Rambling,
        _ => Flaw::Cut,
    }
}

const TAILS: [&str; 3] = [
    " That is what it says.",
    " I hope that this is what you asked for.",
    " There is not much more to say about it.",
];

fn cut(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    words[..words.len().div_ceil(2)].join(" ")
}

fn things() -> Vec<&'static str> {
    KINDS
        .iter()
        .flat_map(|k| &k.members[..THINGS_PER_KIND])
        .copied()
        .collect()
}

fn qualities() -> Vec<&'static str> {
    let all = OPPOSITES.iter().flat_map(|(a, b)| [*a, *b]);
    all.take(N_QUALITIES).collect()
}

/// An input text with its right answer and flawed ones.
trait Recipe {
    fn instruction(&self) -> &'static str;
    fn input(&self) -> String;
    fn answer(&self) -> String;
    fn lazy(&self) -> String;
    fn wrong(&self, rng: &mut Rng) -> String;
}

// ---- translation

/// "The red fox sees the old tree."
struct Sentence {
    subject: (&'static str, &'static str),
    verb: usize,
    object: (&'static str, &'static str),
}

/// A word in Tolan: things end in -o, qualities in -an.
fn word(english: &str) -> String {
    match (things().contains(&english), qualities().contains(&english)) {
        (true, _) => format!("{english}o"),
        (_, true) => format!("{english}an"),
        _ => english.to_string(),
    }
}

impl Sentence {
    fn draw(rng: &mut Rng) -> Self {
        let mut noun = || {
            let quality = *qualities().choose(rng).expect("some");
            (quality, *things().choose(rng).expect("some"))
        };
        let (subject, object) = (noun(), noun());
        Self {
            subject,
            verb: rng.random_range(0..VERBS.len()),
            object,
        }
    }

    /// Tolan puts qualities after things and the verb last, and has no articles.
    fn in_tolan(&self, word: impl Fn(&str) -> String) -> String {
        let noun = |(quality, thing): (&str, &str)| format!("{} {}", word(thing), word(quality));
        let text = format!(
            "{} {} {}.",
            noun(self.subject),
            noun(self.object),
            VERBS[self.verb].1
        );
        capital(&text)
    }
}

impl Recipe for Sentence {
    fn instruction(&self) -> &'static str {
        TRANSLATE
    }

    fn input(&self) -> String {
        let ((a, b), (c, d)) = (self.subject, self.object);
        format!("The {a} {b} {} the {c} {d}.", VERBS[self.verb].0)
    }

    fn answer(&self) -> String {
        self.in_tolan(word)
    }

    fn lazy(&self) -> String {
        let noun = |(quality, thing): (&str, &str)| format!("{} {}", word(quality), word(thing));
        let verb = VERBS[self.verb].1;
        capital(&format!(
            "{} {verb} {}.",
            noun(self.subject),
            noun(self.object)
        ))
    }

    fn wrong(&self, rng: &mut Rng) -> String {
        let kept = *[self.subject.1, self.object.1, self.subject.0]
            .choose(rng)
            .expect("some");
        self.in_tolan(|english| match english == kept {
            true => english.to_string(),
            false => word(english),
        })
    }
}

// ---- summaries

/// Three facts about one thing among facts about others.
struct Text {
    subject: &'static str,
    qualities: [&'static str; 2],
    verb: usize,
    object: &'static str,
    other: (&'static str, &'static str),
    sentences: Vec<String>,
}

impl Text {
    fn draw(rng: &mut Rng) -> Self {
        let mut pool = things();
        pool.shuffle(rng);
        let mut chosen = qualities();
        chosen.shuffle(rng);
        let (subject, object, other) = (pool[0], pool[1], pool[2]);
        let verb = rng.random_range(0..VERBS.len());
        let mut sentences = vec![
            format!("The {subject} is {}.", chosen[0]),
            format!("The {subject} is {}.", chosen[1]),
            format!("The {subject} {} the {object}.", VERBS[verb].0),
            format!("The {other} is {}.", chosen[2]),
        ];
        // the first sentence names the subject; the summary keeps the order of the qualities
        sentences[1..].shuffle(rng);
        Self {
            subject,
            qualities: [chosen[0], chosen[1]],
            verb,
            object,
            other: (chosen[2], other),
            sentences,
        }
    }
}

impl Recipe for Text {
    fn instruction(&self) -> &'static str {
        SUMMARISE
    }

    fn input(&self) -> String {
        self.sentences.join(" ")
    }

    fn answer(&self) -> String {
        let [a, b] = self.qualities;
        format!(
            "The {a} and {b} {} {} the {}.",
            self.subject, VERBS[self.verb].0, self.object
        )
    }

    fn lazy(&self) -> String {
        self.sentences[..2].join(" ")
    }

    fn wrong(&self, _rng: &mut Rng) -> String {
        let (quality, thing) = self.other;
        format!(
            "The {quality} {thing} {} the {}.",
            VERBS[self.verb].0, self.subject
        )
    }
}

// ---- files

/// Draws from the training side or the held-out tenth; a hash of the text decides.
fn draw<R: Recipe>(new: fn(&mut Rng) -> R, held_out: bool, rng: &mut Rng) -> R {
    loop {
        let recipe = new(rng);
        if (Sha256::digest(recipe.input().as_bytes())[0] % 10 == 0) == held_out {
            return recipe;
        }
    }
}

fn row(recipe: &impl Recipe, output: String) -> Value {
    json!({"instruction": recipe.instruction(), "input": recipe.input(), "output": output})
}

fn flawed(recipe: &impl Recipe, rng: &mut Rng) -> String {
    let right = recipe.answer();
    match flaw(rng) {
        Flaw::None => right,
        Flaw::Lazy => recipe.lazy(),
        Flaw::Wrong => recipe.wrong(rng),
        Flaw::Rambling => right + TAILS.choose(rng).expect("some"),
        Flaw::Cut => cut(&right),
    }
}

fn task<R: Recipe>(seed: u64, names: [&'static str; 3], new: fn(&mut Rng) -> R) -> [File; 3] {
    let mut rng = stream(seed, names[0]);
    let demonstrations = (0..N_DEMONSTRATIONS).map(|_| {
        let recipe = draw(new, false, &mut rng);
        let output = flawed(&recipe, &mut rng);
        row(&recipe, output)
    });
    let demonstrations = array(names[0], demonstrations.collect());
    let right = |name: &'static str, n: usize, held_out: bool| {
        let mut rng = stream(seed, name);
        let rows = (0..n).map(|_| {
            let recipe = draw(new, held_out, &mut rng);
            row(&recipe, recipe.answer())
        });
        array(name, rows.collect())
    };
    [
        demonstrations,
        right(names[1], N_PROMPTS, false),
        right(names[2], N_HELD_OUT, true),
    ]
}

/// The files of both tasks. The same seed gives the same bytes.
pub fn files(seed: u64) -> Vec<File> {
    let translation = [
        "translation.json",
        "translation-prompts.json",
        "translation-heldout.json",
    ];
    let summaries = [
        "summaries.json",
        "summaries-prompts.json",
        "summaries-heldout.json",
    ];
    let mut files = Vec::from(task(seed, translation, Sentence::draw));
    files.extend(task(seed, summaries, Text::draw));
    files
}
