//! A row of every format, for the tests that go over all of them. A new format must name one here.

use data::Format;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Read {
    Demonstrations,
    Preferences,
    Prompts,
}

/// A row of a format, the records it holds, and its texts, the first of them the prompt (as JSON
/// pointers).
pub struct Sample {
    pub row: Value,
    pub read: Read,
    pub texts: &'static [&'static str],
}

/// The compiler asks for a row of every format.
pub fn sample(format: Format) -> Sample {
    let (read, row, texts) = match format {
        Format::Auto
        | Format::Alpaca
        | Format::PromptCompletion
        | Format::Chat
        | Format::Text
        | Format::Fastchat
        | Format::QuestionAnswer
        | Format::Transcript
        | Format::Kto => answered(format),
        Format::ComparisonV1
        | Format::ComparisonV2
        | Format::Hh
        | Format::Pairs
        | Format::OpenaiPreference => compared(format),
        Format::Ultrafeedback | Format::Ranked | Format::SafeRlhf | Format::Shp | Format::Arena => {
            graded(format)
        }
    };
    Sample { row, read, texts }
}

/// The records a row holds, the row, and its texts.
type Literal = (Read, Value, &'static [&'static str]);

fn answered(format: Format) -> Literal {
    match format {
        Format::Auto | Format::Alpaca => (
            Read::Demonstrations,
            json!({"instruction": "Say hi.", "input": "", "output": "Hi.", "category": "chat"}),
            &["/instruction", "/output"],
        ),
        Format::PromptCompletion => (
            Read::Demonstrations,
            json!({"prompt": "Say hi.", "completion": "Hi."}),
            &["/prompt", "/completion"],
        ),
        Format::Chat => (
            Read::Demonstrations,
            json!({"messages": [{"role": "user", "content": "Say hi."},
                                {"role": "assistant", "content": "Hi."}]}),
            &[
                "/messages/0/content",
                "/messages/1/content",
                "/messages/0/role",
                "/messages/1/role",
            ],
        ),
        Format::Text => (Read::Demonstrations, json!({"text": "Hi."}), &["/text"]),
        Format::Fastchat => (
            Read::Prompts,
            json!({"question_id": 1, "category": "chat", "text": "Say hi."}),
            &["/text"],
        ),
        Format::QuestionAnswer => (
            Read::Demonstrations,
            json!({"question": "Say hi.", "answer": "Hi."}),
            &["/question", "/answer"],
        ),
        Format::Transcript => (
            Read::Demonstrations,
            json!({"text": "### Human: Say hi.### Assistant: Hi."}),
            &["/text"],
        ),
        Format::Kto => (
            Read::Prompts,
            json!({"prompt": "Say hi.", "completion": "Hi.", "label": true}),
            &["/prompt", "/completion"],
        ),
        other => unreachable!("{other:?}"),
    }
}

fn compared(format: Format) -> Literal {
    match format {
        Format::ComparisonV1 => (
            Read::Preferences,
            json!({"user_input": "Say hi.", "completion_a": "Hi.", "completion_b": "No."}),
            &["/user_input", "/completion_a", "/completion_b"],
        ),
        Format::ComparisonV2 => (
            Read::Preferences,
            json!({"user_input": "Say hi.", "responses_and_scores": [
                {"response": "Hi.", "score": 2}, {"response": "No.", "score": "1"}]}),
            &[
                "/user_input",
                "/responses_and_scores/0/response",
                "/responses_and_scores/1/response",
            ],
        ),
        Format::Hh => (
            Read::Preferences,
            json!({"chosen": "\n\nHuman: Say hi.\n\nAssistant: Hi.",
                   "rejected": "\n\nHuman: Say hi.\n\nAssistant: No."}),
            &["/chosen", "/rejected"],
        ),
        Format::OpenaiPreference => (
            Read::Preferences,
            json!({"input": {"messages": [{"role": "user", "content": "Say hi."}], "tools": [],
                             "parallel_tool_calls": true},
                   "preferred_output": [{"role": "assistant", "content": "Hi."}],
                   "non_preferred_output": [{"role": "assistant", "content": "No."}]}),
            &[
                "/input/messages/0/content",
                "/preferred_output/0/content",
                "/non_preferred_output/0/content",
            ],
        ),
        Format::Pairs => (
            Read::Preferences,
            json!({"prompt": "Say hi.", "chosen": "Hi.", "rejected": "No."}),
            &["/prompt", "/chosen", "/rejected"],
        ),
        other => unreachable!("{other:?}"),
    }
}

/// Pairs whose order a grade or a label decides.
fn graded(format: Format) -> Literal {
    match format {
        Format::Ultrafeedback => (
            Read::Preferences,
            json!({"source": "x", "instruction": "Say hi.", "models": ["m"],
                   "correct_answers": ["None"], "completions": [
                {"response": "Hi.", "overall_score": 8.5},
                {"response": "No.", "overall_score": "1"}]}),
            &[
                "/instruction",
                "/completions/0/response",
                "/completions/1/response",
            ],
        ),
        Format::Ranked => (
            Read::Preferences,
            json!({"prompt": "Say hi.", "good_natured": true, "turns": 1, "answers": [
                {"answer": "Hi.", "rank": 1.0}, {"answer": "No.", "rank": 2.0}]}),
            &["/prompt", "/answers/0/answer", "/answers/1/answer"],
        ),
        Format::SafeRlhf => (
            Read::Preferences,
            json!({"prompt": "Say hi.", "response_0": "Hi.", "response_1": "No.",
                   "better_response_id": 0}),
            &[
                "/prompt",
                "/response_0",
                "/response_1",
                "/better_response_id",
            ],
        ),
        Format::Shp => (
            Read::Preferences,
            json!({"history": "Say hi.", "human_ref_A": "Hi.", "human_ref_B": "No.", "labels": 1,
                   "score_A": 9, "score_B": 2, "score_ratio": 4.5, "domain": "askx_train"}),
            &["/history", "/human_ref_A", "/human_ref_B"],
        ),
        Format::Arena => (
            Read::Preferences,
            json!({"question_id": "7", "model_a": "m", "model_b": "n", "winner": "model_a",
                   "conversation_a": [{"role": "user", "content": "Say hi."},
                                      {"role": "assistant", "content": "Hi."}],
                   "conversation_b": [{"role": "user", "content": "Say hi."},
                                      {"role": "assistant", "content": "No."}]}),
            &[
                "/conversation_a/0/content",
                "/conversation_b/1/content",
                "/winner",
            ],
        ),
        other => unreachable!("{other:?}"),
    }
}
