//! Turns and system prompts.

use crate::item::Item;
use data::{Ask, Message, TrainOn};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Whether a message is none of the turns: the system prompt, the tools and their results.
fn is_context(message: &Message) -> bool {
    ["system", "tools", "tool"].contains(&message.role.as_str())
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Conversations {
    /// Records by the number of their turns of users and assistants
    turns: BTreeMap<usize, u64>,
    n_multi_turn: u64,
    n_assistant_first: u64,
    n_earlier_learnt: u64,
    n_earlier_context: u64,
    n_system: u64,
    systems: HashSet<u64>,
}

/// Conversations in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConversationFacts {
    /// Records with more than one question
    pub multi_turn: u64,
    /// Turns of users and assistants, the answer that is learnt included
    pub fewest_turns: usize,
    pub median_turns: usize,
    pub most_turns: usize,
    /// Records with an assistant turn before the first question
    pub assistant_first: u64,
    /// Assistant turns before the last answer that are learnt, too
    pub earlier_learnt: u64,
    /// Those that are context
    pub earlier_context: u64,
    /// Records with a system prompt
    pub with_system_prompt: u64,
    pub distinct_system_prompts: u64,
}

impl Conversations {
    pub fn add(&mut self, item: &Item, train_on: TrainOn) {
        let n_answers = usize::from(!item.answers.is_empty());
        let is_learnt = train_on == TrainOn::All && item.answers.len() == 1;
        let n_turns = match &item.prompt.ask {
            Ask::Chat(messages) => {
                for system in messages.iter().filter(|m| m.role == "system").take(1) {
                    self.n_system += 1;
                    let mut hash = DefaultHasher::new();
                    system.content.hash(&mut hash);
                    self.systems.insert(hash.finish());
                }
                let n_learnt = match is_learnt {
                    true => item.prompt.ask.learnt_answers().count() as u64,
                    false => 0,
                };
                self.add_messages(messages, n_learnt);
                let turns = messages.iter().filter(|m| !is_context(m));
                turns.count() + n_answers
            }
            Ask::Instruction { .. } => 1 + n_answers,
            Ask::Raw(_) => return,
        };
        *self.turns.entry(n_turns).or_default() += 1;
    }

    /// `n_learnt`: the assistant turns that are.
    fn add_messages(&mut self, messages: &[Message], n_learnt: u64) {
        let count = |role: &str| messages.iter().filter(|m| m.role == role).count() as u64;
        self.n_multi_turn += u64::from(count("user") > 1);
        let first = messages.iter().find(|m| !is_context(m));
        self.n_assistant_first += u64::from(first.is_some_and(|m| m.role == "assistant"));
        self.n_earlier_learnt += n_learnt;
        self.n_earlier_context += count("assistant") - n_learnt;
    }

    /// None: the records are texts without turns, or there are none.
    pub fn facts(&self) -> Option<ConversationFacts> {
        let (fewest, _) = self.turns.first_key_value()?;
        let (most, _) = self.turns.last_key_value()?;
        let n: u64 = self.turns.values().sum();
        let mut below = 0;
        let median = self.turns.iter().find(|(_, count)| {
            below += **count;
            2 * below >= n
        });
        Some(ConversationFacts {
            multi_turn: self.n_multi_turn,
            fewest_turns: *fewest,
            median_turns: median.map_or(0, |(turns, _)| *turns),
            most_turns: *most,
            assistant_first: self.n_assistant_first,
            earlier_learnt: self.n_earlier_learnt,
            earlier_context: self.n_earlier_context,
            with_system_prompt: self.n_system,
            distinct_system_prompts: self.systems.len() as u64,
        })
    }
}
