//! Records of data before any template or tokenizer: prompts, demonstrations, preferences.

use crate::Origin;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The role of the message that declares the tools, and the field with them.
pub(crate) const TOOLS: &str = "tools";
/// The role of a tool's result.
pub(crate) const TOOL: &str = "tool";
/// The field with an assistant's calls.
pub(crate) const CALLS: &str = "tool_calls";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`. The first may be `tools`: what the assistant may
    /// call, which a chat template gets beside the turns.
    pub role: String,
    /// The text of the turn.
    pub content: String,
    /// An assistant turn that is not learnt where every answer is: of weight 0 in the data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_context: bool,
    /// What chat templates read of a turn beside role and content: the `tool_calls` of an
    /// assistant (with a `content` of null where it says nothing else), `name` and `tool_call_id`
    /// of a tool; of `tools` the list of them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_string(),
            content: content.to_string(),
            is_context: false,
            fields: Map::new(),
        }
    }

    /// The text, and the tools or calls as JSON, for people.
    ///
    /// ```
    /// let mut turn = data::Message::new("assistant", "Wait.");
    /// let calls = serde_json::json!([{"function": {"name": "now", "arguments": {}}}]);
    /// turn.fields.insert("tool_calls".into(), calls);
    /// assert_eq!(turn.text(), "Wait.\n[{\"function\":{\"name\":\"now\",\"arguments\":{}}}]");
    /// ```
    pub fn text(&self) -> Cow<'_, str> {
        text_of(&self.content, &self.fields)
    }

    /// Bytes of its texts.
    pub(crate) fn n_bytes(&self) -> usize {
        self.text().len()
    }

    /// Whether an answer may follow.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.role == "user" || self.role == TOOL
    }

    /// Whether an assistant writes something in it.
    pub(crate) fn says_something(&self) -> bool {
        !self.content.trim().is_empty() || self.fields.contains_key(CALLS)
    }
}

/// As [`Message::text`].
pub(crate) fn text_of<'c>(content: &'c str, fields: &Map<String, Value>) -> Cow<'c, str> {
    let json = [TOOLS, CALLS].iter().find_map(|name| fields.get(*name));
    match json {
        None => Cow::from(content),
        Some(json) if content.is_empty() => Cow::from(json.to_string()),
        Some(json) => Cow::from(format!("{content}\n{json}")),
    }
}

/// The tools that a conversation declares, and its turns.
pub(crate) fn declared(messages: &[Message]) -> (&[Value], &[Message]) {
    let split = messages.split_first();
    let tools = split.and_then(|(first, turns)| Some((declaration(first)?, turns)));
    tools.unwrap_or((&[], messages))
}

/// The tools of a message that declares them. A turn whose role in the data is `tools` has none.
pub(crate) fn declaration(message: &Message) -> Option<&[Value]> {
    let is_first = message.role == TOOLS;
    let tools = message.fields.get(TOOLS).filter(|_| is_first)?;
    tools.as_array().map(Vec::as_slice)
}

/// A question, before any template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Alpaca's form.
    Instruction {
        /// What to do.
        instruction: String,
        /// What to do it with; may be empty.
        input: String,
    },
    /// A conversation that ends with a turn of the user or of a tool.
    Chat(Vec<Message>),
    /// Rendered text, which no template changes.
    Raw(String),
}

impl Ask {
    /// An instruction without input.
    pub fn instruction(text: &str) -> Self {
        Self::Instruction {
            instruction: text.to_string(),
            input: String::new(),
        }
    }

    /// The tools that a conversation declares.
    pub fn tools(&self) -> &[Value] {
        match self {
            Self::Chat(messages) => declared(messages).0,
            Self::Instruction { .. } | Self::Raw(_) => &[],
        }
    }

    /// Bytes of its texts.
    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            Self::Instruction { instruction, input } => instruction.len() + input.len(),
            Self::Chat(messages) => messages.iter().map(Message::n_bytes).sum(),
            Self::Raw(text) => text.len(),
        }
    }

    /// Values in the fields of its turns.
    pub(crate) fn n_values(&self) -> usize {
        match self {
            Self::Chat(messages) => messages.iter().map(|m| n_values(&m.fields)).sum(),
            Self::Instruction { .. } | Self::Raw(_) => 0,
        }
    }

    /// The earlier answers in it, which are context.
    pub fn n_answers(&self) -> usize {
        match self {
            Self::Chat(messages) => messages.iter().filter(|m| m.role == "assistant").count(),
            Self::Instruction { .. } | Self::Raw(_) => 0,
        }
    }

    /// The places of the turns that are answers and learnt, where every answer is
    /// ([`TrainOn::All`](crate::TrainOn::All)): an answer that says nothing, or is of weight 0, is
    /// context.
    ///
    /// ```
    /// use data::{Ask, Message};
    /// let turns = [("assistant", "a"), ("user", "b"), ("assistant", " "), ("user", "c")];
    /// let ask = Ask::Chat(turns.map(|(role, text)| Message::new(role, text)).to_vec());
    /// assert_eq!(ask.learnt_answers().collect::<Vec<_>>(), [0]);
    /// ```
    pub fn learnt_answers(&self) -> impl Iterator<Item = usize> + '_ {
        let messages: &[Message] = match self {
            Self::Chat(messages) => messages,
            Self::Instruction { .. } | Self::Raw(_) => &[],
        };
        let is_learnt = |m: &Message| m.role == "assistant" && !m.is_context && m.says_something();
        let learnt = messages.iter().enumerate();
        learnt.filter(move |(_, m)| is_learnt(m)).map(|(i, _)| i)
    }

    /// The question as people read it. It is the same for an instruction with an input, for the two
    /// joined by a blank line (as in comparison files), and for a chat of that one user turn.
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

/// The values in fields: every list, object, text and number counts as one.
pub(crate) fn n_values(fields: &Map<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(of).sum::<usize>(),
            Value::Object(fields) => 1 + n_values(fields),
            _ => 1,
        }
    }
    fields.values().map(of).sum()
}

/// `Human: …`, `Assistant: …`, `System: …` blocks between blank lines.
pub(crate) fn transcript(messages: &[Message]) -> String {
    let blocks = messages.iter().map(|m| {
        let speaker = match m.role.as_str() {
            "user" => "Human",
            "assistant" => "Assistant",
            "system" => "System",
            TOOL => "Tool",
            TOOLS => "Tools",
            other => other,
        };
        format!("{speaker}: {}", m.text())
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// A question and, where the data has one, its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The question.
    pub ask: Ask,
    /// The reference answer.
    pub reference: Option<String>,
    /// Where it was read.
    #[serde(skip)]
    pub origin: Origin,
}

impl Prompt {
    /// A prompt made in memory.
    pub fn new(ask: Ask, reference: Option<String>) -> Self {
        Self {
            ask,
            reference,
            origin: Origin::default(),
        }
    }

    /// Whether there is a reference answer with text in it.
    pub fn has_reference(&self) -> bool {
        let text = self.reference.as_deref().unwrap_or_default();
        !text.trim().is_empty()
    }

    /// A stable identity of the question, for splits and for ESRL's memory: 64-bit FNV-1a of
    /// [`Ask::text`] without surrounding white space. A prompt without text (pre-training) is
    /// identified by its reference.
    ///
    /// ```
    /// use data::{Ask, Prompt};
    /// let prompt = |instruction: &str, input: &str| {
    ///     let (instruction, input) = (instruction.into(), input.into());
    ///     Prompt::new(Ask::Instruction { instruction, input }, None)
    /// };
    /// assert_eq!(prompt("Add.", "1 + 1").key(), prompt("Add.\n\n1 + 1", "").key());
    /// assert_ne!(prompt("Add.", "").key(), prompt("Subtract.", "").key());
    /// ```
    pub fn key(&self) -> u64 {
        let text = self.ask.text();
        match (text.trim(), &self.reference) {
            ("", Some(reference)) => fnv1a(reference.trim().as_bytes()),
            (text, _) => fnv1a(text.as_bytes()),
        }
    }
}

/// 64-bit FNV-1a (Fowler, Noll, Vo).
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A prompt and the answer to imitate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demonstration {
    /// The question.
    pub prompt: Prompt,
    /// The answer.
    pub response: String,
    /// Of an answer that calls tools: the [`Message::fields`] of its turn.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Demonstration {
    /// The answer as a turn.
    pub fn answer(&self) -> Message {
        Message {
            fields: self.fields.clone(),
            ..Message::new("assistant", &self.response)
        }
    }
}

/// A prompt and two answers, one of them better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// The question.
    pub prompt: Prompt,
    /// The better answer.
    pub chosen: String,
    /// The other answer.
    pub rejected: String,
}
