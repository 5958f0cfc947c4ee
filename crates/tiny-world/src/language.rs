//! The words of the tiny world: things and their kinds, qualities and their opposites, and the helpers that put them
//! into sentences. Everything else in this crate is built from these lists.

/// A kind of thing with its members.
pub struct Kind {
    pub name: &'static str,
    pub plural: &'static str,
    pub members: [&'static str; 10],
}

const fn kind(name: &'static str, plural: &'static str, members: [&'static str; 10]) -> Kind {
    Kind {
        name,
        plural,
        members,
    }
}

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

/// What one can be asked to do with a thing, as the first word of a request ("Bring me the hat.").
pub const VERBS: [&str; 7] = ["give", "bring", "show", "lend", "send", "pass", "hand"];

/// A word that is in an answer only when it is rude.
pub const RUDE_WORDS: [&str; 6] = ["stupid", "fool", "dumb", "annoying", "silly", "away"];

pub fn nouns() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|k| k.members)
}

pub fn qualities() -> impl Iterator<Item = &'static str> {
    OPPOSITES.iter().flat_map(|&(a, b)| [a, b])
}

/// The kind that a thing belongs to.
pub fn kind_of(noun: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.members.contains(&noun))
}

pub fn kind_named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.name == name)
}

pub fn kind_with_plural(plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.plural == plural)
}

pub fn is_noun(word: &str) -> bool {
    kind_of(word).is_some()
}

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

/// First letter in upper case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The words of a text, in lower case, without punctuation.
pub fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}
