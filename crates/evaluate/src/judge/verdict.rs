//! Reads the verdict in a judge's reply, strictly: a reply without one clear verdict is a failure,
//! never a score.
//!
//! A judge argues before it decides, and quotes the answer, which may hold brackets of its own. So
//! a verdict counts where it stands on its own: on a line with nothing else or after a label
//! (`Rating: [[7]]`), or as the last words of the reply. Thoughts (`<think>`), quotations, block
//! quotes and code are skipped. Several verdicts that differ are a failure.

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Which of two shown answers is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Better {
    A,
    B,
    /// Neither.
    C,
}

/// Why a reply has no verdict.
pub(super) type NoVerdict = &'static str;

const MISSING: NoVerdict = "the reply has no clear verdict";
const DIFFERENT: NoVerdict = "the reply has verdicts that differ";
const NO_RATING: NoVerdict = "the reply's verdict is not a number from 1 to 10";
const NO_CHOICE: NoVerdict = "the reply's verdict is not A, B or C";

/// The rating in a reply: a plain decimal number from 1 to 10 in `[[ ]]`.
///
/// ```
/// use evaluate::judge::rating;
/// assert_eq!(rating("It says \"[[10]]\", wrongly. Rating: [[8.5]]"), Some(8.5));
/// assert_eq!(rating("Rating: [[8]], or rather [[3]]"), None);
/// assert_eq!(rating("I would say 8 of 10."), None);
/// ```
pub fn rating(reply: &str) -> Option<f64> {
    read_rating(reply, "").ok()
}

/// The choice in a reply: A, B or C in `[[ ]]`.
pub fn better(reply: &str) -> Option<Better> {
    read_better(reply, "").ok()
}

/// [`rating`] of a judge that was shown `shown`, or why there is none.
pub(super) fn read_rating(reply: &str, shown: &str) -> Result<f64, NoVerdict> {
    let has_digit = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
    verdict(reply, shown, has_digit, |text| {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let rating: f64 = text.parse().ok().filter(|_| plain).ok_or(NO_RATING)?;
        let in_range = (1.0..=10.0).contains(&rating);
        in_range.then_some(rating).ok_or(NO_RATING)
    })
}

/// [`better`] of a judge that was shown `shown`, or why there is none.
pub(super) fn read_better(reply: &str, shown: &str) -> Result<Better, NoVerdict> {
    let has_no_digit = |text: &str| !text.bytes().any(|b| b.is_ascii_digit());
    verdict(reply, shown, has_no_digit, |text| match text {
        "A" => Ok(Better::A),
        "B" => Ok(Better::B),
        "C" => Ok(Better::C),
        _ => Err(NO_CHOICE),
    })
}

/// The one verdict. `is_ours`: whether the content of a bracket can be a verdict of this kind;
/// other brackets are ignored.
fn verdict<T: PartialEq>(
    reply: &str,
    shown: &str,
    is_ours: impl Fn(&str) -> bool,
    parse: impl Fn(&str) -> Result<T, NoVerdict>,
) -> Result<T, NoVerdict> {
    let said = own_words(reply);
    let said = BRACKET.replace_all(&said, |found: &Captures| match is_ours(&found[1]) {
        true => found[0].to_string(),
        false => String::new(),
    });
    let shown: String = shown.split_whitespace().collect();
    let mut verdict = None;
    let mut lines = said.lines().filter(|l| !l.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        for bracket in Bracket::all(line) {
            // The last words of a reply are no verdict if they may be a quotation.
            let is_quoted = || shown.contains(&format!("[[{}]]", bracket.inside));
            let closes = is_last && bracket.closes() && !is_quoted();
            if !bracket.stands_alone() && !closes {
                continue;
            }
            let value = parse(bracket.inside)?;
            if verdict.as_ref().is_some_and(|other| *other != value) {
                return Err(DIFFERENT);
            }
            verdict = Some(value);
        }
    }
    verdict.ok_or(MISSING)
}

static BRACKET: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[\[([^\[\]]*)\]\]"));

static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.!?;]\s|。"));

/// `[[ ]]` in a line.
struct Bracket<'a> {
    /// The text before it in its sentence
    before: &'a str,
    inside: &'a str,
    /// The text after it in its line
    after: &'a str,
}

impl<'a> Bracket<'a> {
    /// All of a line.
    fn all(line: &'a str) -> impl Iterator<Item = Self> {
        BRACKET.captures_iter(line).map(|captures| {
            let (whole, inside) = (captures.get_match(), captures.get(1).expect("a group"));
            let marks = |c: char| c.is_whitespace() || "*_`".contains(c);
            let before = &line[..whole.start()];
            let sentence = SENTENCE_END.find_iter(before).last();
            Self {
                before: sentence.map_or(before, |end| &before[end.end()..]),
                inside: inside.as_str().trim_matches(marks),
                after: &line[whole.end()..],
            }
        })
    }

    /// Whether it is all that its sentence says, after a label at most.
    fn stands_alone(&self) -> bool {
        static OF_TEN: LazyLock<Regex> =
            LazyLock::new(|| pattern(r"(?i)^\W*(/|out of|of)\s*10(\.0)?\b"));
        if !self.is_first() {
            return false;
        }
        let after = OF_TEN.replace(self.after, "");
        let marks = |c: char| c.is_whitespace() || "*_~|([{".contains(c);
        let label = self.before.trim_end_matches(marks);
        if label.ends_with([':', '：', '=']) {
            // What follows may explain it, but not extend or correct it.
            let range = |c: char| c.is_whitespace() || "-–—~/*_".contains(c);
            let extends = after.starts_with(range)
                && after
                    .trim_start_matches(range)
                    .starts_with(|c: char| c.is_ascii_digit());
            return !after.contains("[[") && !extends;
        }
        let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
        label.split_whitespace().filter(is_word).count() <= 2 && is_decoration(&after)
    }

    /// Whether its line ends with it.
    fn closes(&self) -> bool {
        self.is_first() && is_decoration(self.after)
    }

    /// Whether its sentence has none before it, and reports nobody's words.
    fn is_first(&self) -> bool {
        static REPORTS: LazyLock<Regex> = LazyLock::new(|| {
            pattern(r"(?i)\b(says|said|claims|states|writes|wrote|contains|quotes|demands|asks)\b")
        });
        !self.before.contains("[[") && !REPORTS.is_match(self.before)
    }

    /// Whether its line is a short label and the bracket.
    fn is_short(&self) -> bool {
        let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
        self.stands_alone()
            && self.before.split_whitespace().filter(is_word).count() <= 2
            && is_decoration(self.after)
    }
}

/// Whether there is nothing but punctuation and mark-up.
fn is_decoration(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_alphanumeric() || c == '[' || c == '/')
}

/// The reply without thoughts, quotations and code.
fn own_words(reply: &str) -> String {
    // With the end of its thoughts alone: the chat template wrote their beginning.
    static BEFORE_END: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?is)^.*</(think|thinking|thought|reasoning|reflection)>"));
    static UNENDED: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?is)<(think|thinking|thought|reasoning|reflection)>.*$"));
    static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r#"“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|"[^"]*"|(?:^|[\s(])'[^'\n]*'(?:[\s.,;:!?)]|$)"#,
        )
    });
    static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"`[^`]*`"));
    let said = BEFORE_END.replace(reply, "");
    let said = UNENDED.replace(&said, "");
    let said = said.replace("\\[", "[").replace("\\]", "]"); // escaped for Markdown or LaTeX
    let mut kept = String::with_capacity(said.len());
    for line in outside_of_fences(&said) {
        if line.trim_start().starts_with('>') {
            continue;
        }
        // A verdict may be set as code, on a line of its own.
        let bare = line.replace('`', "");
        let is_verdict = Bracket::all(&bare).any(|bracket| bracket.is_short());
        let line = match is_verdict {
            true => bare,
            false => CODE.replace_all(line, " … ").into_owned(),
        };
        kept.push_str(&QUOTED.replace_all(&line, " … "));
        kept.push('\n');
    }
    // Quotations of several lines.
    QUOTED.replace_all(&kept, " … ").into_owned()
}

/// The lines outside of fenced blocks; those inside, if the reply is one block.
fn outside_of_fences(text: &str) -> Vec<&str> {
    let is_fence = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("```") || line.starts_with("~~~")
    };
    let lines: Vec<&str> = text.trim().lines().collect();
    if let [first, inner @ .., last] = &lines[..]
        && is_fence(first)
        && is_fence(last)
        && !inner.iter().any(is_fence)
    {
        return inner.to_vec();
    }
    let mut inside = false;
    let mut kept = Vec::new();
    for line in lines {
        if is_fence(&line) {
            inside = !inside;
        } else if !inside {
            kept.push(line);
        }
    }
    kept
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns are constants")
}
