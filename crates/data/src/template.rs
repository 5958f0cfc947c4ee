//! How a question becomes the text of a prompt. Knows no tokens.

use crate::clock::{template_now, template_time};
use crate::jinja::{Rendering, Tagged, Turn};
use crate::record::{Ask, Message, declared, transcript};
use crate::{Error, Result, jinja};
use serde::{Deserialize, Serialize};

/// The key of a message that holds Alpaca's input. A chat template that reads it gets instruction
/// and input apart.
const ALPACA_INPUT: &str = "alpaca_input";

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
        /// The time that the template prints, RFC 3339: frozen when the run began. None: the
        /// current time, or a template that prints none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        date: Option<String>,
    },
    /// The question's text as it is; a conversation as an HH transcript that ends in
    /// `\n\nAssistant:`.
    Raw,
}

impl Template {
    /// Its name in `model.template`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::Chat { .. } => "chat",
            Self::Raw => "raw",
        }
    }

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
            Self::Chat { .. } => self.render_chat(ask, None, true),
            Self::Raw => Ok(match ask {
                Ask::Chat(messages) => format!("\n\n{}\n\nAssistant:", transcript(messages)),
                _ => ask.text(),
            }),
        }
    }

    /// The chat template's text of a question: with an answer, or with the generation prompt.
    fn render_chat(
        &self,
        ask: &Ask,
        answer: Option<&Message>,
        add_generation_prompt: bool,
    ) -> Result<String> {
        jinja::render(self.rendering(ask, answer, add_generation_prompt)?)
    }

    fn rendering(
        &self,
        ask: &Ask,
        answer: Option<&Message>,
        add_generation_prompt: bool,
    ) -> Result<Rendering> {
        let Self::Chat {
            source,
            bos,
            eos,
            date,
        } = self
        else {
            return Err(Error("not a chat template".into()));
        };
        let mut tools = Vec::new();
        let mut turns = match ask {
            Ask::Chat(messages) => {
                let (of_row, turns) = declared(messages);
                tools = of_row.to_vec();
                turns.iter().map(Turn::from).collect()
            }
            Ask::Instruction { instruction, input }
                if source.contains(ALPACA_INPUT) && !input.trim().is_empty() =>
            {
                vec![Turn {
                    message: Message::new("user", instruction),
                    alpaca_input: Some(input.clone()),
                }]
            }
            _ => vec![Turn::from(&Message::new("user", &ask.text()))],
        };
        turns.extend(answer.map(Turn::from));
        Ok(Rendering {
            source: source.clone(),
            turns,
            tools,
            bos: bos.clone(),
            eos: eos.clone(),
            add_generation_prompt,
            secs: match date {
                Some(date) => template_time(date)?,
                None => template_time(&template_now())?,
            },
        })
    }

    /// The whole text of a question and its answer, with what the template writes after it. None:
    /// this is no chat template, or the question is rendered text already.
    pub(crate) fn render_answered(&self, ask: &Ask, answer: &Message) -> Option<Result<String>> {
        match (self, ask) {
            (Self::Chat { .. }, Ask::Instruction { .. } | Ask::Chat(_)) => {
                Some(self.render_chat(ask, Some(answer), false))
            }
            _ => None,
        }
    }

    /// The whole text of a conversation, and the ranges of bytes in it that the template's
    /// `{% generation %}` blocks mark. None: it has none, or is no chat template.
    pub(crate) fn render_tagged(&self, ask: &Ask, answer: &Message) -> Option<Result<Tagged>> {
        match (self, ask) {
            (Self::Chat { source, .. }, Ask::Instruction { .. } | Ask::Chat(_))
                if jinja::has_generation_tags(source) =>
            {
                let rendering = self.rendering(ask, Some(answer), false);
                Some(rendering.and_then(jinja::render_tagged))
            }
            _ => None,
        }
    }

    /// What this template puts around an answer. None: it is no chat template, or it does not
    /// render a question with an answer.
    ///
    /// Errors: the template exceeds its limits of time or memory.
    pub(crate) fn around_answer(&self) -> Result<Option<Around>> {
        const ANSWER: &str = "an answer that is in no template";
        let ask = Ask::instruction("a question");
        let rendered = self.render_answered(&ask, &Message::new("assistant", ANSWER));
        let texts = rendered.map(|text| Ok((text?, self.render(&ask)?)));
        let (text, prompt) = match texts {
            Some(Ok(texts)) => texts,
            Some(Err(why)) if jinja::was_abandoned() => return Err(why),
            Some(Err(_)) | None => return Ok(None),
        };
        let Some((before, after)) = text.split_once(ANSWER) else {
            return Ok(None);
        };
        let before = before.strip_prefix(&prompt).unwrap_or_default();
        let ungenerated = self.render_chat(&ask, None, false);
        // A blank belongs to the answer's first token.
        let header = match ungenerated {
            Ok(text) if text == prompt && !before.trim().is_empty() => before.trim_end_matches(' '),
            Err(why) if jinja::was_abandoned() => return Err(why),
            _ => "",
        };
        Ok(Some(Around {
            header: header.to_string(),
            before: before[header.len()..].to_string(),
            after: after.to_string(),
        }))
    }

    /// Whether it marks itself what the assistant writes.
    pub(crate) fn has_generation_tags(&self) -> bool {
        matches!(self, Self::Chat { source, .. } if jinja::has_generation_tags(source))
    }

    /// Whether the text depends on the time: the template calls `strftime_now`.
    pub fn prints_the_date(&self) -> bool {
        matches!(self, Self::Chat { source, .. } if source.contains("strftime_now"))
    }

    /// The frozen time of a template that prints it.
    pub fn date(&self) -> Option<&str> {
        match self {
            Self::Chat { date, .. } => date.as_deref(),
            _ => None,
        }
    }

    /// The same template without its frozen time.
    pub(crate) fn without_date(mut self) -> Self {
        if let Self::Chat { date, .. } = &mut self {
            *date = None;
        }
        self
    }

    /// The same template at a time, RFC 3339. A template that prints none is unchanged.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        let prints = self.prints_the_date();
        if let (Self::Chat { date, .. }, true) = (&mut self, prints) {
            *date = Some(time.to_string());
        }
        self
    }
}

/// The texts that a chat template puts around an answer.
#[derive(Clone, Default)]
pub(crate) struct Around {
    /// Between the question and the answer if the template has no generation prompt. It then ends
    /// the prompt: a header is not the answer's.
    pub header: String,
    /// Between the generation prompt and the answer, such as the empty block of a model that can
    /// think. The model writes it.
    pub before: String,
    /// After the answer: `<|im_end|>` and what follows.
    pub after: String,
}

impl Around {
    /// The same up to the token that ends an answer. None: the template writes no answer that could
    /// be used, so nothing stands around it.
    pub fn until(self, end: Option<&str>) -> Self {
        let (before, after) = match end {
            Some(end) => {
                let len = self.after.find(end).unwrap_or(0);
                (self.before, self.after[..len].to_string())
            }
            None => Default::default(),
        };
        Self {
            header: self.header,
            before,
            after,
        }
    }

    /// What a user should know of the texts before an answer.
    pub fn note(&self) -> Option<String> {
        let (header, before) = (&self.header, self.before.trim());
        match (header.as_str(), before) {
            ("", "") => None,
            ("", before) => Some(format!(
                "the chat template writes {before:?} before an answer, after the generation \
                 prompt: it is learnt as the beginning of each answer, and rewards see it"
            )),
            (header, _) => Some(format!(
                "the chat template has no generation prompt: {header:?}, which it writes before an \
                 answer, ends the prompts"
            )),
        }
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
