//! Porter's stemmer (1980) with NLTK's extensions, as rouge-score uses it. For words of a-z and
//! 0-9.

/// The stem of a lower-case ASCII word.
///
/// ```
/// assert_eq!(rewards::stem("relational"), "relat");
/// assert_eq!(rewards::stem("dying"), "die");
/// ```
pub fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return stem.to_string();
    }
    if word.len() <= 2 {
        return word.to_string();
    }
    let steps = [
        plural,
        past_and_gerund,
        final_y,
        double_suffix,
        suffix,
        last_suffix,
        final_e,
        final_ll,
    ];
    steps
        .iter()
        .fold(word.to_string(), |word, step| step(&word))
}

const IRREGULAR: &[(&str, &str)] = &[
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Step 1a.
fn plural(word: &str) -> String {
    if word.len() == 4 && word.ends_with("ies") {
        return format!("{}ie", &word[..1]);
    }
    replace(
        word,
        &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")],
        |_| true,
    )
}

/// Step 1b.
fn past_and_gerund(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 {
            format!("{stem}ee")
        } else {
            word.to_string()
        };
    }
    let stems = ["ed", "ing"]
        .iter()
        .filter_map(|suffix| word.strip_suffix(suffix));
    let Some(stem) = stems
        .into_iter()
        .find(|stem| consonants(stem).contains(&false))
    else {
        return word.to_string();
    };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    let letters = stem.as_bytes();
    let doubled = letters.len() >= 2
        && letters[letters.len() - 1] == letters[letters.len() - 2]
        && consonants(stem)[letters.len() - 1];
    if doubled {
        let kept = if stem.ends_with(['l', 's', 'z']) {
            stem
        } else {
            &stem[..stem.len() - 1]
        };
        return kept.to_string();
    }
    if measure(stem) == 1 && ends_cvc(stem) {
        format!("{stem}e")
    } else {
        stem.to_string()
    }
}

/// Step 1c.
fn final_y(word: &str) -> String {
    replace(word, &[("y", "i")], |stem| {
        stem.len() > 1 && consonants(stem).ends_with(&[true])
    })
}

/// Step 2.
fn double_suffix(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        return double_suffix(&format!("{stem}al"));
    }
    const RULES: &[(&str, &str)] = &[
        ("ational", "ate"),
        ("tional", "tion"),
        ("enci", "ence"),
        ("anci", "ance"),
        ("izer", "ize"),
        ("bli", "ble"),
        ("alli", "al"),
        ("entli", "ent"),
        ("eli", "e"),
        ("ousli", "ous"),
        ("ization", "ize"),
        ("ation", "ate"),
        ("ator", "ate"),
        ("alism", "al"),
        ("iveness", "ive"),
        ("fulness", "ful"),
        ("ousness", "ous"),
        ("aliti", "al"),
        ("iviti", "ive"),
        ("biliti", "ble"),
        ("fulli", "ful"),
    ];
    match word.strip_suffix("logi") {
        // The l counts as part of the stem.
        Some(stem) if measure(&format!("{stem}l")) > 0 => format!("{stem}log"),
        Some(_) => word.to_string(),
        None => replace(word, RULES, |stem| measure(stem) > 0),
    }
}

/// Step 3.
fn suffix(word: &str) -> String {
    const RULES: &[(&str, &str)] = &[
        ("icate", "ic"),
        ("ative", ""),
        ("alize", "al"),
        ("iciti", "ic"),
        ("ical", "ic"),
        ("ful", ""),
        ("ness", ""),
    ];
    replace(word, RULES, |stem| measure(stem) > 0)
}

/// Step 4.
fn last_suffix(word: &str) -> String {
    const SUFFIXES: [&str; 19] = [
        "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion",
        "ou", "ism", "ate", "iti", "ous", "ive", "ize",
    ];
    let Some(suffix) = SUFFIXES.iter().find(|suffix| word.ends_with(*suffix)) else {
        return word.to_string();
    };
    let stem = &word[..word.len() - suffix.len()];
    let applies = measure(stem) > 1 && (*suffix != "ion" || stem.ends_with(['s', 't']));
    if applies { stem } else { word }.to_string()
}

/// Step 5a.
fn final_e(word: &str) -> String {
    match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_cvc(stem)) => {
            stem.to_string()
        }
        _ => word.to_string(),
    }
}

/// Step 5b.
fn final_ll(word: &str) -> String {
    let drops = word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1;
    if drops { &word[..word.len() - 1] } else { word }.to_string()
}

/// Applies the first rule whose suffix the word has, if its stem satisfies `applies`; otherwise the
/// word stays.
fn replace(word: &str, rules: &[(&str, &str)], applies: impl Fn(&str) -> bool) -> String {
    let matching = rules
        .iter()
        .find_map(|(suffix, by)| Some((word.strip_suffix(suffix)?, by)));
    match matching {
        Some((stem, by)) if applies(stem) => format!("{stem}{by}"),
        _ => word.to_string(),
    }
}

/// Whether each letter is a consonant: not a, e, i, o, u, and not a y after a consonant.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !flags.last().copied().unwrap_or(false),
            _ => true,
        });
    }
    flags
}

/// Porter's m: the number of times that a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem)
        .windows(2)
        .filter(|pair| !pair[0] && pair[1])
        .count()
}

/// Consonant, vowel, consonant other than w, x or y. NLTK: also a word of one vowel and one
/// consonant.
fn ends_cvc(word: &str) -> bool {
    match consonants(word)[..] {
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        [false, true] => true,
        _ => false,
    }
}
