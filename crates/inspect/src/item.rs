//! A record of any kind: a prompt and the answers that a stage learns from.

use crate::Stage;
use data::{Message, Prompt, RowView};

/// A record.
#[derive(Clone)]
pub(crate) struct Item {
    pub prompt: Prompt,
    /// Each with its name, which is empty where there is one
    pub answers: Vec<(&'static str, Message)>,
}

impl Item {
    /// The records that a stage takes of a row.
    pub fn of_row(row: &RowView, stage: Stage) -> Vec<Self> {
        match stage {
            Stage::Sft => {
                let records = row.demonstrations.records.iter();
                let item = |d: &data::Demonstration| Self {
                    prompt: d.prompt.clone(),
                    answers: vec![("", d.answer())],
                };
                records.map(item).collect()
            }
            Stage::Rm => {
                let answer = |text: &String| Message::new("assistant", text);
                let records = row.preferences.records.iter();
                let item = |p: &data::Preference| Self {
                    prompt: p.prompt.clone(),
                    answers: vec![
                        ("chosen", answer(&p.chosen)),
                        ("rejected", answer(&p.rejected)),
                    ],
                };
                records.map(item).collect()
            }
            Stage::Rlhf => {
                let records = row.prompts.records.iter();
                let item = |prompt: &Prompt| Self {
                    prompt: prompt.clone(),
                    answers: Vec::new(),
                };
                records.map(item).collect()
            }
        }
    }

    /// An answer as it is learnt: after a transcript without the white space before it, which
    /// belongs to the mark of the speaker.
    pub fn learnt(&self, answer: &Message) -> Message {
        let mut answer = answer.clone();
        if self.prompt.origin.is_transcript() {
            answer.content = answer.content.trim_start().to_string();
        }
        answer
    }

    /// Bytes of its texts.
    pub fn n_bytes(&self) -> usize {
        let answers = self.answers.iter().map(|(_, turn)| turn.text().len());
        self.prompt.ask.text().len() + answers.sum::<usize>()
    }
}
