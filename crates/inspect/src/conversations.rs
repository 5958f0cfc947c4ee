//! Turns and system prompts.

use crate::item::Item;
use data::Ask;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Debug, Default)]
pub(crate) struct Conversations {
    /// Records by the number of their turns of users and assistants
    turns: BTreeMap<usize, u64>,
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
    /// Records with a system prompt
    pub with_system_prompt: u64,
    pub distinct_system_prompts: u64,
}

impl Conversations {
    pub fn add(&mut self, item: &Item) {
        let n_answers = usize::from(!item.answers.is_empty());
        let n_turns = match &item.prompt.ask {
            Ask::Chat(messages) => {
                for system in messages.iter().filter(|m| m.role == "system").take(1) {
                    self.n_system += 1;
                    let mut hash = DefaultHasher::new();
                    system.content.hash(&mut hash);
                    self.systems.insert(hash.finish());
                }
                messages.iter().filter(|m| m.role != "system").count() + n_answers
            }
            Ask::Instruction { .. } => 1 + n_answers,
            Ask::Raw(_) => return,
        };
        *self.turns.entry(n_turns).or_default() += 1;
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
        let many = self.turns.iter().filter(|(turns, _)| **turns > 2);
        Some(ConversationFacts {
            multi_turn: many.map(|(_, count)| count).sum(),
            fewest_turns: *fewest,
            median_turns: median.map_or(0, |(turns, _)| *turns),
            most_turns: *most,
            with_system_prompt: self.n_system,
            distinct_system_prompts: self.systems.len() as u64,
        })
    }
}
