//! The turns of a text that holds a whole conversation, by the marks that trainers write before
//! them. A text is read only if its turns alternate, the user's first; nothing is guessed.

use crate::Message;

/// Where a mark may stand.
#[derive(Clone, Copy)]
enum At {
    Anywhere,
    /// At the start of a line
    Line,
    /// At the start, or after white space or `>`
    Word,
}

/// The marks of one way of writing conversations.
struct Style {
    at: At,
    user: &'static str,
    assistant: &'static str,
    system: Option<&'static str>,
}

const STYLES: [Style; 7] = [
    Style::new(At::Line, "Human:", "Assistant:"),
    Style::new(At::Line, "User:", "Assistant:"),
    Style::new(At::Anywhere, "### Human:", "### Assistant:"),
    Style::new(At::Word, "USER:", "ASSISTANT:"),
    Style::new(At::Anywhere, "[INST]", "[/INST]"),
    Style {
        at: At::Anywhere,
        user: "<|im_start|>user\n",
        assistant: "<|im_start|>assistant\n",
        system: Some("<|im_start|>system\n"),
    },
    Style {
        at: At::Anywhere,
        user: "<|user|>",
        assistant: "<|assistant|>",
        system: Some("<|system|>"),
    },
];

/// What ends a turn, or begins the text, in some of them.
const ENDS: [&str; 4] = ["</s>", "<s>", "<|im_end|>", "<|endoftext|>"];

impl Style {
    const fn new(at: At, user: &'static str, assistant: &'static str) -> Self {
        let system = None;
        Self {
            at,
            user,
            assistant,
            system,
        }
    }

    fn allows(&self, before: &str) -> bool {
        match self.at {
            At::Anywhere => true,
            At::Line => before.is_empty() || before.ends_with('\n'),
            At::Word => before.is_empty() || before.ends_with([' ', '\n', '\t', '>']),
        }
    }

    /// Whether the text has turns of both speakers.
    fn fits(&self, text: &str) -> bool {
        let mut roles = self.marks(text).into_iter().map(|(.., role)| role);
        roles.any(|role| role == "user") && roles.any(|role| role == "assistant")
    }

    /// Start, end and role of each mark, in the order of the text.
    fn marks(&self, text: &str) -> Vec<(usize, usize, &'static str)> {
        let kinds = [
            (Some(self.user), "user"),
            (Some(self.assistant), "assistant"),
            (self.system, "system"),
        ];
        let mut marks = Vec::new();
        for (mark, role) in kinds {
            let starts = mark.into_iter().flat_map(|mark| text.match_indices(mark));
            let starts = starts.filter(|(start, _)| self.allows(&text[..*start]));
            marks.extend(starts.map(|(start, mark)| (start, start + mark.len(), role)));
        }
        marks.sort_unstable();
        marks
    }
}

/// The turns of a text, or what is wrong with it: `has no turns: …`. An answer that is left empty
/// at the end is none.
pub(super) fn turns(text: &str) -> Result<Vec<Message>, String> {
    let mut fitting = STYLES.iter().filter(|style| style.fits(text));
    let Some(style) = fitting.next() else {
        let marks = STYLES.iter().map(|style| format!("{:?}", style.user));
        let marks = marks.collect::<Vec<_>>().join(", ");
        return Err(format!("has no turns of two speakers; looked for {marks}"));
    };
    if let Some(other) = fitting.next() {
        let (one, other) = (style.user, other.user);
        return Err(format!("has turns in two styles, {one:?} and {other:?}"));
    }
    let marks = style.marks(text);
    let mut messages = Vec::new();
    let before = without_ends(&text[..marks[0].0]);
    if !before.is_empty() {
        messages.push(Message::new("system", before));
    }
    for (i, (_, start, role)) in marks.iter().enumerate() {
        let end = marks.get(i + 1).map_or(text.len(), |(next, ..)| *next);
        messages.push(Message::new(role, without_ends(&text[*start..end])));
    }
    take_system_out(&mut messages);
    messages.pop_if(|last| last.role == "assistant" && last.content.is_empty());
    check_order(&messages)?;
    Ok(messages)
}

/// Llama 2 writes the system prompt into the first turn.
fn take_system_out(messages: &mut Vec<Message>) {
    let first = messages.first().filter(|first| first.role == "user");
    let inner = first.and_then(|first| first.content.strip_prefix("<<SYS>>"));
    if let Some((system, question)) = inner.and_then(|inner| inner.split_once("<</SYS>>")) {
        let (system, question) = (system.trim().to_string(), question.trim().to_string());
        messages[0].content = question;
        messages.insert(0, Message::new("system", &system));
    }
}

fn check_order(messages: &[Message]) -> Result<(), String> {
    let n_system = messages.iter().take_while(|m| m.role == "system").count();
    let order = ["user", "assistant"].into_iter().cycle();
    let mut turns = messages[n_system..].iter().zip(order).enumerate();
    match turns.find(|(_, (turn, role))| turn.role != *role) {
        None if n_system < 2 => Ok(()),
        None => Err("has two system prompts".to_string()),
        Some((i, (turn, role))) => Err(format!(
            "does not alternate: turn {} is of the {}, and the {role}'s is due",
            n_system + i + 1,
            turn.role
        )),
    }
}

/// A text without white space and special tokens at its ends.
fn without_ends(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let cut = |end: &&str| text.strip_suffix(*end).or_else(|| text.strip_prefix(*end));
        match ENDS.iter().find_map(cut) {
            Some(rest) => text = rest.trim(),
            None => return text,
        }
    }
}
