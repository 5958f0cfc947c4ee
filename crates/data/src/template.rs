//! How an ask becomes text, and where the answer begins. Knows no tokens.

use crate::record::{Ask, Message, transcript};
use crate::{Error, Result, jinja};
use serde::{Deserialize, Serialize};

/// Saved with every run as `template.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Template {
    /// Stanford Alpaca's two prompts (with and without input), ending in `### Response:`. Of a conversation, the last
    /// user turn is the instruction and everything before it, as `Human: …` / `Assistant: …` / `System: …` blocks, the
    /// input.
    Alpaca,
    /// The model's own Jinja chat template. An instruction is one user turn: instruction, blank line, input.
    Chat {
        source: String,
        bos: String,
        eos: String,
    },
    /// The ask's text as it is; a conversation as an HH transcript, ending in `\n\nAssistant:`.
    Raw,
}

impl Template {
    /// The text up to where the answer begins. `Ask::Raw` is that text already, whatever the template.
    pub fn render(&self, ask: &Ask) -> Result<String> {
        if let Ask::Raw(text) = ask {
            return Ok(text.clone());
        }
        match self {
            Self::Alpaca => match ask {
                Ask::Instruction { instruction, input } => Ok(alpaca(instruction, input)),
                Ask::Chat(messages) => alpaca_chat(messages),
                Ask::Raw(text) => Ok(text.clone()),
            },
            Self::Chat { source, bos, eos } => match ask {
                Ask::Chat(messages) => jinja::render(source, messages, bos, eos, true),
                _ => jinja::render(source, &[Message::new("user", &ask.text())], bos, eos, true),
            },
            Self::Raw => Ok(match ask {
                Ask::Chat(messages) => format!("\n\n{}\n\nAssistant:", transcript(messages)),
                _ => ask.text(),
            }),
        }
    }

    /// The text that this template puts directly after an answer (`<|im_end|>` and what follows it); empty where it
    /// puts none or cannot be asked.
    pub(crate) fn after_answer(&self) -> String {
        const ANSWER: &str = "an answer that is in no template";
        let Self::Chat { source, bos, eos } = self else {
            return String::new();
        };
        let messages = [
            Message::new("user", "a question"),
            Message::new("assistant", ANSWER),
        ];
        let text = jinja::render(source, &messages, bos, eos, false).unwrap_or_default();
        text.split_once(ANSWER)
            .map(|(_, after)| after.to_string())
            .unwrap_or_default()
    }
}

/// `PROMPT_DICT` of `stanford_alpaca/train.py`, to the letter.
fn alpaca(instruction: &str, input: &str) -> String {
    if input.trim().is_empty() {
        format!(
            "Below is an instruction that describes a task. \
             Write a response that appropriately completes the request.\n\n\
             ### Instruction:\n{instruction}\n\n### Response:"
        )
    } else {
        format!(
            "Below is an instruction that describes a task, paired with an input that provides further context. \
             Write a response that appropriately completes the request.\n\n\
             ### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
        )
    }
}

fn alpaca_chat(messages: &[Message]) -> Result<String> {
    match messages.split_last() {
        Some((last, earlier)) if last.role == "user" => {
            Ok(alpaca(&last.content, &transcript(earlier)))
        }
        _ => Err(Error(
            "a conversation must end with a user turn to be put into the Alpaca template".into(),
        )),
    }
}
