//! Ready-made prompts inside a text of data, recognised by their marks. They are reported, not
//! refused: code or a story may contain them, and with `model.template = "raw"` a ready-made prompt
//! is what is wanted.

/// What begins a turn in the formats of prompts that models are trained on.
const MARKS: [&str; 14] = [
    "\n\nHuman:",
    "\n\nAssistant:",
    "### Instruction:",
    "### Response:",
    "### Human:",
    "### Assistant:",
    "<|im_start|>",
    "<|start_header_id|>",
    "<|begin_of_text|>",
    "<start_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "[INST]",
    "<<SYS>>",
];

/// Names of speakers at the start of lines; one alone proves nothing.
const SPEAKERS: [(&str, &str); 3] = [
    ("Human:", "Assistant:"),
    ("USER:", "ASSISTANT:"),
    ("User:", "Assistant:"),
];

/// Marks of conversations that `data.format = "transcript"` reads, as [`mark`] names them.
const OF_TRANSCRIPTS: [&str; 11] = [
    "Human:",
    "Assistant:",
    "### Human:",
    "### Assistant:",
    "<|im_start|>",
    "<|user|>",
    "<|assistant|>",
    "[INST]",
    "Human: … Assistant:",
    "USER: … ASSISTANT:",
    "User: … Assistant:",
];

/// Whether a text with this mark may be a transcript that can be read as turns.
pub(crate) fn is_of_transcript(mark: &str) -> bool {
    OF_TRANSCRIPTS.contains(&mark)
}

/// The first mark of a ready-made prompt in `text`, as people write it.
pub(crate) fn mark(text: &str) -> Option<String> {
    let found = MARKS.iter().find(|mark| text.contains(*mark));
    if let Some(mark) = found {
        return Some(mark.trim_start().to_string());
    }
    let begins = |name: &str| text.lines().any(|line| line.starts_with(name));
    let (one, other) = SPEAKERS.iter().find(|(a, b)| begins(a) && begins(b))?;
    Some(format!("{one} … {other}"))
}
