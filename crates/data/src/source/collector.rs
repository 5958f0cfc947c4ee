//! The records of a file's rows. Rules for every format (no empty answers, no equal pairs) are
//! here, and what is reported once about all rows together.

use super::format::ReadOptions;
use super::remarks::Remark;
use crate::record::{TOOL, declaration};
use crate::{Ask, Demonstration, Error, Message, Origin, Preference, Prompt, TrainOn};
use row_files::{MAX_ROW_BYTES, TOO_BIG};
use std::collections::BTreeMap;

/// The records the caller asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Demonstrations,
    Preferences,
    Prompts,
}

/// Collects the records of all rows, and counts the rows it drops.
pub struct Collector {
    pub want: Want,
    drops_tools: bool,
    /// The current file fills up columns with null: parquet.
    pub fills_up: bool,
    pub demonstrations: Vec<Demonstration>,
    pub preferences: Vec<Preference>,
    pub prompts: Vec<Prompt>,
    pub dropped: BTreeMap<String, usize>,
    /// Where the current row is.
    pub origin: Origin,
    /// Fields that no reader used, with the number of their rows.
    pub unused: BTreeMap<String, usize>,
    /// Fields that hold turns or lists as text, with the number of their rows and the first.
    json_texts: BTreeMap<String, (usize, Origin)>,
    /// Other remarks on rows that are used, with the number of rows.
    remarks: BTreeMap<Remark, usize>,
    /// Turns of questions after the first, which are not used.
    pub later_turns: usize,
    /// What is wrong with the first row that is not what its format says.
    pub malformed: Option<Error>,
    /// Answers in conversations before the last.
    earlier_answers: usize,
    /// Those of them that are context in any case: empty, or of weight 0.
    weightless_answers: usize,
}

/// The most fields that one note names.
const SHOWN: usize = 20;

impl Collector {
    pub fn new(want: Want, options: &ReadOptions) -> Self {
        Self {
            want,
            drops_tools: options.drops_tools,
            fills_up: false,
            demonstrations: Vec::new(),
            preferences: Vec::new(),
            prompts: Vec::new(),
            dropped: BTreeMap::new(),
            origin: Origin::default(),
            unused: BTreeMap::new(),
            json_texts: BTreeMap::new(),
            remarks: BTreeMap::new(),
            later_turns: 0,
            malformed: None,
            earlier_answers: 0,
            weightless_answers: 0,
        }
    }

    /// Records so far.
    pub fn n_records(&self) -> usize {
        self.demonstrations.len() + self.preferences.len() + self.prompts.len()
    }

    /// Counts a remark on `n` rows that are used.
    pub fn remark(&mut self, remark: Remark, n: usize) {
        let is_known = remark == Remark::Nulls && self.fills_up;
        if n > 0 && !is_known {
            *self.remarks.entry(remark).or_default() += n;
        }
    }

    /// Counts the current row, of which a field was text and read as turns or as a list.
    pub fn count_json_text(&mut self, field: String) {
        let first = || (0, self.origin.clone());
        self.json_texts.entry(field).or_insert_with(first).0 += 1;
    }

    /// Counts a row that is not used.
    pub fn drop_row(&mut self, reason: &str) {
        self.drop_rows(reason, 1);
    }

    /// Counts `n` rows that are not used.
    pub fn drop_rows(&mut self, reason: &str, n: usize) {
        if n > 0 {
            *self.dropped.entry(reason.to_string()).or_default() += n;
        }
    }

    /// Whether the role of a turn is known.
    pub fn knows_role(&self, message: &Message) -> bool {
        match message.role.as_str() {
            "system" | "user" | "assistant" => true,
            TOOL => !self.drops_tools,
            _ => declaration(message).is_some(),
        }
    }

    /// Whether every turn has a known role. If not, the row is dropped.
    fn knows_roles(&mut self, messages: &[Message]) -> bool {
        let unknown = messages.iter().find(|m| !self.knows_role(m));
        if let Some(Message { role, .. }) = unknown {
            self.drop_row(&format!("conversation with a turn of the role {role:?}"));
            return false;
        }
        true
    }

    /// Whether a conversation can be a prompt: every turn has a known role, and the last one is the
    /// user's or a tool's (`otherwise` names the fault). If not, the row is dropped.
    pub fn takes(&mut self, messages: &[Message], otherwise: &str) -> bool {
        if !self.knows_roles(messages) {
            return false;
        }
        let takes = messages.last().is_some_and(Message::awaits_answer);
        if !takes {
            self.drop_row(otherwise);
        }
        takes
    }

    /// Adds a prompt, with the reference answer if there is one.
    pub fn prompt(&mut self, ask: Ask, reference: Option<String>) {
        let prompt = self.prompt_of(ask, reference);
        if prompt.ask.text().trim().is_empty() {
            self.drop_row("empty prompt");
        } else if self.accepts(&prompt.ask, &[prompt.reference.as_deref().unwrap_or("")]) {
            self.prompts.push(prompt);
        }
    }

    /// Adds a prompt with its response, which is also the prompt's reference.
    pub fn demonstration(&mut self, ask: Ask, response: &str) {
        self.answered(ask, Message::new("assistant", response));
    }

    /// Adds a prompt with its answer. Its text is also the prompt's reference, unless it is of
    /// weight 0 or calls tools.
    pub fn answered(&mut self, ask: Ask, answer: Message) {
        let calls = !answer.fields.is_empty();
        if self.want == Want::Prompts {
            let why = match answer.is_context {
                true => Some(Remark::Weightless),
                false => calls.then_some(Remark::Calls),
            };
            let reference = why.is_none().then_some(answer.content);
            let before = self.prompts.len();
            self.prompt(ask, reference);
            if let Some(why) = why.filter(|_| self.prompts.len() > before) {
                self.remark(why, 1);
            }
        } else if answer.is_context {
            self.drop_row("answer of weight 0");
        } else if !answer.says_something() {
            self.drop_row("empty answer");
        } else if self.accepts(&ask, &[&answer.text()]) {
            let response = answer.content;
            self.earlier_answers += ask.n_answers();
            self.weightless_answers += ask.n_answers() - ask.learnt_answers().count();
            let prompt = self.prompt_of(ask, Some(response.clone()));
            self.demonstrations.push(Demonstration {
                prompt,
                response,
                fields: answer.fields,
            });
        }
    }

    /// Adds a prompt with a better and a worse answer.
    pub fn preference(&mut self, ask: Ask, chosen: &str, rejected: &str) {
        if self.want == Want::Prompts {
            self.prompt(ask, None);
        } else if chosen.trim().is_empty() || rejected.trim().is_empty() {
            self.drop_row("empty answer");
        } else if chosen.trim() == rejected.trim() {
            self.drop_row("both answers equal");
        } else if self.accepts(&ask, &[chosen, rejected]) {
            let prompt = self.prompt_of(ask, None);
            let (chosen, rejected) = (chosen.to_string(), rejected.to_string());
            self.preferences.push(Preference {
                prompt,
                chosen,
                rejected,
            });
        }
    }

    fn prompt_of(&self, ask: Ask, reference: Option<String>) -> Prompt {
        Prompt {
            ask,
            reference,
            origin: self.origin.clone(),
        }
    }

    /// Whether the texts of a row are of a length that anything could use. If not, it is dropped.
    fn accepts(&mut self, ask: &Ask, answers: &[&str]) -> bool {
        if let Ask::Chat(messages) = ask
            && !self.knows_roles(messages)
        {
            return false;
        }
        let n_bytes = answers.iter().map(|text| text.len()).sum::<usize>() + ask.text().len();
        let accepts = n_bytes <= MAX_ROW_BYTES;
        if !accepts {
            self.drop_row(TOO_BIG);
        }
        accepts
    }

    /// Counts a row that is not what its format says, and keeps the first error for a file in which
    /// all are so.
    pub fn malformed(&mut self, reason: &str, error: Error) {
        self.drop_row(reason);
        self.malformed.get_or_insert(error);
    }

    /// Notes that the row's prompt was a transcript.
    pub fn mark_transcript(&mut self) {
        let demonstrations = self.demonstrations.iter_mut().map(|row| &mut row.prompt);
        let preferences = self.preferences.iter_mut().map(|row| &mut row.prompt);
        for prompt in demonstrations.chain(preferences).chain(&mut self.prompts) {
            prompt.origin = std::mem::take(&mut prompt.origin).of_transcript();
        }
    }

    /// What becomes of the answers before the last of a conversation.
    fn notes_on_answers(&self, train_on: TrainOn) -> Vec<String> {
        let mut notes = Vec::new();
        let (n_context, n_learnt) = match train_on {
            TrainOn::Last => (self.earlier_answers, 0),
            TrainOn::All => (
                self.weightless_answers,
                self.earlier_answers - self.weightless_answers,
            ),
        };
        if n_learnt > 0 {
            notes.push(format!(
                "{n_learnt} earlier assistant turns are learnt, too, where the template can write \
                 them; to learn the last answer only, set data.train_on = \"last\""
            ));
        }
        if n_context > 0 {
            let why = match train_on {
                TrainOn::Last => "of a conversation the last answer is learnt",
                TrainOn::All => "they are empty, or their weight is 0",
            };
            notes.push(format!(
                "{n_context} earlier assistant turns are context only: {why}"
            ));
        }
        notes
    }

    /// One line for each thing that a user should know of the rows that are used.
    pub fn notes(&self, train_on: TrainOn) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unused.is_empty() {
            let names: Vec<&String> = self.unused.keys().take(SHOWN).collect();
            let counts = named_counts(self.unused.iter().take(SHOWN));
            let more = match self.unused.len() - names.len() {
                0 => String::new(),
                n => format!(", and {n} others"),
            };
            notes.push(format!(
                "fields that are not used (rows): {counts}{more}; if that is right, set \
                 data.ignore = {names:?}"
            ));
        }
        if !self.json_texts.is_empty() {
            let fields = self.json_texts.iter();
            let fields = fields.map(|(name, (n, first))| format!("{name:?} ({n}; first: {first})"));
            notes.push(format!(
                "fields that hold turns or lists as text of JSON (rows): {}; they are read as such",
                fields.collect::<Vec<_>>().join(", ")
            ));
        }
        let learnt = match self.want {
            Want::Prompts => "used as references",
            Want::Demonstrations | Want::Preferences => "learnt",
        };
        let remarks = self.remarks.iter();
        notes.extend(remarks.map(|(remark, n)| remark.line(*n, learnt)));
        notes.extend(self.notes_on_answers(train_on));
        if self.later_turns > 0 {
            notes.push(format!(
                "{} later turns of questions are not used: the first one is the prompt",
                self.later_turns
            ));
        }
        notes
    }
}

/// `"a" (1), "b" (2)`
fn named_counts<'a>(counts: impl Iterator<Item = (&'a String, &'a usize)>) -> String {
    let counts = counts.map(|(name, n)| format!("{name:?} ({n})"));
    counts.collect::<Vec<_>>().join(", ")
}
