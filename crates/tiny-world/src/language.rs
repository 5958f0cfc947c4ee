//! The words of the language: things and their kinds, qualities and their opposites, and helpers
//! that make sentences of them. The rest of this crate is built from these lists.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng as Rng;

/// A kind of thing with its members.
pub struct Kind {
    /// "animal"
    pub name: &'static str,
    /// "animals"
    pub plural: &'static str,
    /// Its things.
    pub members: [&'static str; 10],
}

const fn kind(name: &'static str, plural: &'static str, members: [&'static str; 10]) -> Kind {
    Kind {
        name,
        plural,
        members,
    }
}

/// All kinds.
pub const KINDS: [Kind; 8] = [
    kind(
        "animal",
        "animals",
        [
            "cow", "dog", "cat", "horse", "pig", "sheep", "goat", "duck", "fox", "bear",
        ],
    ),
    kind(
        "fruit",
        "fruits",
        [
            "apple", "pear", "plum", "peach", "cherry", "lemon", "melon", "grape", "mango", "fig",
        ],
    ),
    kind(
        "vehicle",
        "vehicles",
        [
            "car", "bus", "train", "ship", "boat", "truck", "bike", "tram", "van", "plane",
        ],
    ),
    kind(
        "tool",
        "tools",
        [
            "hammer", "saw", "drill", "axe", "spade", "brush", "rope", "ladder", "knife", "shovel",
        ],
    ),
    kind(
        "garment",
        "garments",
        [
            "hat", "coat", "shirt", "shoe", "sock", "scarf", "glove", "belt", "dress", "boot",
        ],
    ),
    kind(
        "instrument",
        "instruments",
        [
            "drum", "flute", "harp", "horn", "piano", "violin", "guitar", "bell", "trumpet",
            "cello",
        ],
    ),
    kind(
        "building",
        "buildings",
        [
            "house", "barn", "tower", "castle", "church", "school", "hotel", "bridge", "mill",
            "shop",
        ],
    ),
    kind(
        "tree",
        "trees",
        [
            "oak", "pine", "elm", "birch", "maple", "willow", "cedar", "beech", "palm", "spruce",
        ],
    ),
];

/// Qualities and their opposites; each pair works in both directions and no word is in two pairs.
pub const OPPOSITES: [(&str, &str); 20] = [
    ("hot", "cold"),
    ("big", "small"),
    ("old", "young"),
    ("fast", "slow"),
    ("high", "low"),
    ("wet", "dry"),
    ("hard", "soft"),
    ("rich", "poor"),
    ("dark", "light"),
    ("early", "late"),
    ("full", "empty"),
    ("clean", "dirty"),
    ("happy", "sad"),
    ("loud", "quiet"),
    ("long", "short"),
    ("open", "closed"),
    ("strong", "weak"),
    ("thick", "thin"),
    ("near", "far"),
    ("smooth", "rough"),
];

/// First words of requests ("Bring me the hat.").
pub const VERBS: [&str; 7] = ["give", "bring", "show", "lend", "send", "pass", "hand"];

/// Words that occur only in rude answers.
pub const RUDE_WORDS: [&str; 6] = ["stupid", "fool", "dumb", "annoying", "silly", "away"];

/// All things.
pub fn nouns() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|k| k.members)
}

/// All qualities.
pub fn qualities() -> impl Iterator<Item = &'static str> {
    OPPOSITES.iter().flat_map(|&(a, b)| [a, b])
}

/// The kind of a thing.
pub fn kind_of(noun: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.members.contains(&noun))
}

/// The kind of this name.
pub fn kind_named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.name == name)
}

/// The kind with this plural.
pub fn kind_with_plural(plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.plural == plural)
}

/// Whether a word is a thing.
pub fn is_noun(word: &str) -> bool {
    kind_of(word).is_some()
}

/// The opposite of a quality.
pub fn opposite(quality: &str) -> Option<&'static str> {
    OPPOSITES.iter().find_map(|&(a, b)| {
        if a == quality {
            Some(b)
        } else if b == quality {
            Some(a)
        } else {
            None
        }
    })
}

/// Whether a word is a quality.
pub fn is_quality(word: &str) -> bool {
    opposite(word).is_some()
}

/// "a cow", "an apple".
pub fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}

/// The text with its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The words of a text in lower case, without punctuation.
pub fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A random sentence of `n` >= 4 words about a thing, without its full stop.
pub(crate) fn sentence(about: &str, n: usize, rng: &mut Rng) -> String {
    let mut qualities: Vec<&str> = qualities().collect();
    qualities.shuffle(rng);
    let mut words = vec!["The", about, "is"];
    let mut left = n - 3;
    let mut next = qualities.into_iter();
    let mut quality = || next.next().unwrap_or("big");
    // "big" is one word and "very big" two; each further quality also takes an "and"
    loop {
        match left {
            1 => words.push(quality()),
            2 => words.extend(["very", quality()]),
            3 => words.extend([quality(), "and", quality()]),
            _ => {
                words.extend(["very", quality(), "and"]);
                left -= 3;
                continue;
            }
        }
        break;
    }
    words.join(" ")
}

/// "Bring me the hat" as "Please bring me the hat."
pub(crate) fn politely(request: &[String]) -> String {
    format!("Please {}.", request.join(" "))
}
