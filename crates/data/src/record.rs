//! What a row of data says, before any template or tokenizer: prompts, demonstrations, preferences.

use serde::{Deserialize, Serialize};

/// One turn of a conversation; roles are `system`, `user`, `assistant`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_string(),
            content: content.to_string(),
        }
    }
}

/// What is asked, before any template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    Instruction {
        instruction: String,
        /// Empty where the instruction stands alone.
        input: String,
    },
    Chat(Vec<Message>),
    /// Already rendered text; no template touches it.
    Raw(String),
}

impl Ask {
    /// The question as people read it. Equal for `instruction` + `input`, for the same two joined by a blank line (as
    /// the comparison files have them) and for a chat of that single user turn.
    pub fn text(&self) -> String {
        match self {
            Self::Instruction { instruction, input } if input.trim().is_empty() => {
                instruction.clone()
            }
            Self::Instruction { instruction, input } => format!("{instruction}\n\n{input}"),
            Self::Chat(messages) => match messages.as_slice() {
                [only] if only.role == "user" => only.content.clone(),
                _ => transcript(messages),
            },
            Self::Raw(text) => text.clone(),
        }
    }
}

/// `Human: …`, `Assistant: …`, `System: …` blocks between blank lines.
pub(crate) fn transcript(messages: &[Message]) -> String {
    let blocks = messages.iter().map(|m| {
        let speaker = match m.role.as_str() {
            "user" => "Human",
            "assistant" => "Assistant",
            "system" => "System",
            other => other,
        };
        format!("{speaker}: {}", m.content)
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub ask: Ask,
    /// A reference answer where the data has one.
    pub reference: Option<String>,
}

impl Prompt {
    /// Stable identity of the question, for splits and ESRL's memory: FNV-1a 64 of [`Ask::text`] without surrounding
    /// white space. A prompt without text (pre-training) is identified by its reference.
    pub fn key(&self) -> u64 {
        let text = self.ask.text();
        match (text.trim(), &self.reference) {
            ("", Some(reference)) => fnv1a(reference.trim().as_bytes()),
            (text, _) => fnv1a(text.as_bytes()),
        }
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A prompt and the answer to imitate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demonstration {
    pub prompt: Prompt,
    pub response: String,
}

/// A prompt and two answers, one of them better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    pub prompt: Prompt,
    pub chosen: String,
    pub rejected: String,
}
