//! How a question becomes the text of a prompt. Knows no tokens.

use crate::record::{Ask, Message, transcript};
use crate::{Error, Result, jinja};
use serde::{Deserialize, Serialize};

/// The text around a question. Every run saves its template as `template.json`.
///
/// ```
/// use data::{Ask, Template};
/// let ask = Ask::Instruction { instruction: "Add.".into(), input: "1 + 1".into() };
/// assert_eq!(Template::Raw.render(&ask)?, "Add.\n\n1 + 1");
/// assert!(Template::Alpaca.render(&ask)?.ends_with("### Input:\n1 + 1\n\n### Response:"));
/// # Ok::<(), data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Template {
    /// Stanford Alpaca's two prompts (with and without input), ending in `### Response:`. In a
    /// conversation the last user turn is the instruction; the turns before it, as `Human: …`,
    /// `Assistant: …` and `System: …` paragraphs, are the input.
    Alpaca,
    /// The model's own Jinja chat template. An instruction becomes one user turn: instruction,
    /// blank line, input.
    Chat {
        /// The Jinja source.
        source: String,
        /// The text of the BOS token.
        bos: String,
        /// The text of the EOS token.
        eos: String,
    },
    /// The question's text as it is; a conversation as an HH transcript that ends in
    /// `\n\nAssistant:`.
    Raw,
}

impl Template {
    /// The text up to the answer. `Ask::Raw` is that text already, whatever the template.
    ///
    /// Errors: the chat template fails or exceeds its limits; a conversation that the Alpaca
    /// template cannot express.
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

    /// The text that this template puts directly after an answer (`<|im_end|>` and what follows);
    /// empty if there is none or rendering fails.
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

/// `PROMPT_DICT` of `stanford_alpaca/train.py`, character by character.
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
            "the Alpaca template needs a conversation that ends with a user turn".into(),
        )),
    }
}
