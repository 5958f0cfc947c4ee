//! The names of the dataset formats, as settings write them, and how a file is to be read.

use crate::TrainOn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A dataset format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Chosen by the fields of the first row.
    #[default]
    Auto,
    /// `instruction`, optional `input`, `output`.
    Alpaca,
    /// `prompt`, `completion`: texts or messages.
    PromptCompletion,
    /// `messages` of role and content, or ShareGPT's `conversations`.
    Chat,
    /// `text`, or the lines of a `.txt` file.
    Text,
    /// `user_input`, `completion_a` (the better), `completion_b`.
    ComparisonV1,
    /// `user_input`, `responses_and_scores`.
    ComparisonV2,
    /// `chosen` and `rejected` transcripts of Anthropic's HH data.
    Hh,
    /// `prompt` (or `instruction`, `question`, turns), `chosen`, `rejected`.
    Pairs,
    /// FastChat questions, as prompts only.
    Fastchat,
    /// `question`, `answer`, or `problem`, `solution`, and their like.
    QuestionAnswer,
    /// A conversation in one text, with marks such as `### Human:`. Never chosen by `Auto`.
    Transcript,
    /// `prompt`, `completion`, `label`: as prompts only.
    Kto,
    /// `instruction`, `completions` with an `overall_score` each.
    Ultrafeedback,
    /// `input` with `messages`, `preferred_output`, `non_preferred_output` of OpenAI.
    OpenaiPreference,
    /// `prompt`, `answers` with a `rank` each.
    Ranked,
    /// `prompt`, `response_0`, `response_1`, `better_response_id` of PKU-SafeRLHF.
    SafeRlhf,
    /// `history`, `human_ref_A`, `human_ref_B`, `labels` of Stanford Human Preferences.
    Shp,
    /// `conversation_a`, `conversation_b`, `winner` of Chatbot Arena.
    Arena,
}

/// How a file is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// Its format.
    pub format: Format,
    /// Fields to ignore: `data.ignore`.
    pub ignore: Vec<String>,
    /// Names of the file's fields by the names that readers know: `data.columns`.
    pub columns: BTreeMap<String, String>,
    /// Which answers of a conversation are learnt; the messages about them differ.
    pub train_on: TrainOn,
    /// Conversations with turns of tools are dropped, and UltraFeedback's scores of two scales are
    /// compared, as in runs that began before [`run::Rules::Tools`].
    pub drops_tools: bool,
}

impl ReadOptions {
    /// Whether a field is to be ignored.
    pub(super) fn ignores(&self, field: &str) -> bool {
        self.ignore.iter().any(|name| name == field)
    }
}

impl From<Format> for ReadOptions {
    fn from(format: Format) -> Self {
        Self {
            format,
            ..Self::default()
        }
    }
}
