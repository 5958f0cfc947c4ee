//! Counts what the rows hold, one after the other.

use crate::Stage;
use crate::conversations::Conversations;
use crate::examples::{ExampleView, as_text, as_tokens};
use crate::fields::Fields;
use crate::item::Item;
use crate::lengths::Lengths;
use crate::overlap::{Overlap, prompt_of};
use crate::reasons::Reasons;
use crate::report::Duplicates;
use crate::stage::Outcome;
use crate::tokens::Tokens;
use data::{FieldUse, Only, Origin, RowView, TrainOn};
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How rows are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    /// Which records
    pub only: Option<&'a Only>,
    /// Records that are shown
    pub n_examples: usize,
    /// Which answers of a conversation are learnt
    pub train_on: TrainOn,
}

/// What is counted.
pub(crate) struct Survey<'a> {
    looking: Looking<'a>,
    /// None until the first row, where nothing else says it
    known_stage: Option<Stage>,
    pub stage: Stage,
    pub n_rows: u64,
    /// Of [`Stage::ALL`]
    pub tallies: [Tally; 3],
    prompts: HashSet<u64>,
    rows: HashSet<u64>,
    pub duplicates: Duplicates,
    pub overlap: Option<Overlap>,
    pub conversations: Conversations,
    /// Characters of prompt, answers and the whole
    pub characters: [Lengths; 3],
    pub tokens: Option<Tokens>,
    pub examples: Vec<ExampleView>,
}

/// What a stage would do with the rows.
#[derive(Default)]
pub(crate) struct Tally {
    /// Name and fields, and the fields of the first row that decided
    pub format: Option<(&'static str, &'static str, Vec<String>)>,
    /// The names of the formats of all files
    pub formats: BTreeSet<&'static str>,
    pub n_records: u64,
    pub refused: Reasons,
    pub dropped: Reasons,
    pub fields: Fields,
}

impl<'a> Survey<'a> {
    pub fn new(
        looking: Looking<'a>,
        stage: Option<Stage>,
        tokens: Option<Tokens>,
        overlap: Option<Overlap>,
    ) -> Self {
        Self {
            looking,
            known_stage: stage,
            stage: stage.unwrap_or(Stage::Sft),
            n_rows: 0,
            tallies: Default::default(),
            prompts: HashSet::new(),
            rows: HashSet::new(),
            duplicates: Duplicates::default(),
            overlap,
            conversations: Conversations::default(),
            characters: Default::default(),
            tokens,
            examples: Vec::new(),
        }
    }

    pub fn add(&mut self, row: &RowView) {
        self.n_rows += 1;
        let first = || Stage::of_row(row).unwrap_or(Stage::Sft);
        self.stage = *self.known_stage.get_or_insert_with(first);
        let place = || Origin::new(row.file.into(), row.number).to_string();
        self.add_row(row, &place);
        let is_repeated = self.add_prompt(row, &place);
        for stage in Stage::ALL {
            let outcome = match stage {
                Stage::Sft => Outcome::from(&row.demonstrations),
                Stage::Rm => Outcome::from(&row.preferences),
                Stage::Rlhf => Outcome::from(&row.prompts),
            };
            let tally = &mut self.tallies[stage as usize];
            tally.add(row, &outcome, &place);
            let items = Item::of_row(row, stage);
            for (i, item) in items.iter().enumerate() {
                let takes = |only: &Only| only.takes(&item.prompt.ask);
                if !self.looking.only.is_none_or(takes) {
                    tally.dropped.add("not matched by --only", 1, place);
                } else if stage == Stage::Rlhf && (is_repeated || i > 0) {
                    tally.dropped.add("repeated prompt", 1, place);
                } else {
                    tally.n_records += 1;
                }
            }
            if stage == self.stage {
                self.add_items(&items);
            }
        }
    }

    /// Counts the row as a whole.
    fn add_row(&mut self, row: &RowView, place: &dyn Fn() -> String) {
        let mut hash = DefaultHasher::new();
        for (name, value) in row.object {
            (name, value.to_string()).hash(&mut hash);
        }
        if !self.rows.insert(hash.finish()) {
            self.duplicates.repeated_rows += 1;
            self.duplicates.first_repeated_row.get_or_insert_with(place);
        }
    }

    /// Whether an earlier row has the prompt of this one.
    fn add_prompt(&mut self, row: &RowView, place: &dyn Fn() -> String) -> bool {
        let only = self.looking.only;
        let takes = |prompt: &data::Prompt| only.is_none_or(|only| only.takes(&prompt.ask));
        let Some(prompt) = prompt_of(row).filter(|prompt| takes(prompt)) else {
            return false;
        };
        let key = prompt.key();
        if let Some(overlap) = &mut self.overlap {
            overlap.add(prompt, key);
        }
        let is_repeated = !self.prompts.insert(key);
        if is_repeated {
            self.duplicates.repeated_prompts += 1;
            self.duplicates
                .first_repeated_prompt
                .get_or_insert_with(place);
        }
        self.duplicates.distinct_prompts = self.prompts.len() as u64;
        is_repeated
    }

    /// Looks at the records of the stage that the report is about.
    fn add_items(&mut self, items: &[Item]) {
        let only = self.looking.only;
        let taken = items
            .iter()
            .filter(|item| only.is_none_or(|only| only.takes(&item.prompt.ask)));
        for item in taken {
            self.conversations.add(item);
            let [prompts, answers, wholes] = &mut self.characters;
            let prompt = item.prompt.ask.text().chars().count();
            let lengths = item.answers.iter().map(|(_, text)| text.chars().count());
            let lengths: Vec<usize> = lengths.collect();
            prompts.add(prompt);
            lengths.iter().for_each(|length| answers.add(*length));
            wholes.add(prompt + lengths.iter().max().unwrap_or(&0));
            if self.examples.len() < self.looking.n_examples {
                let view = match &self.tokens {
                    None => Ok(as_text(item, self.looking.train_on)),
                    Some(tokens) => as_tokens(item, tokens),
                };
                // why it cannot be tokenised is counted below
                self.examples.extend(view.ok());
            }
            if let Some(tokens) = &mut self.tokens {
                tokens.add(item);
            }
        }
    }
}

impl Tally {
    fn add(&mut self, row: &RowView, outcome: &Outcome, place: &dyn Fn() -> String) {
        if let (Some((name, fields)), None) = (outcome.format, &self.format) {
            let words = |text: &str| -> Vec<String> {
                let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.map(str::to_string).collect()
            };
            let known = words(fields);
            let named = row.object.keys().filter(|name| known.contains(name));
            let mut decided: Vec<String> = named.cloned().collect();
            if decided.is_empty() {
                let used = outcome.fields.iter();
                let used = used.filter(|(_, becomes)| *becomes == FieldUse::Used);
                decided = used.map(|(name, _)| name.clone()).collect();
            }
            self.format = Some((name, fields, decided));
        }
        self.formats.extend(outcome.format.map(|(name, _)| name));
        self.fields.add(outcome.fields);
        if let Some(why) = outcome.refused {
            self.refused.add(why, 1, place);
        }
        for reason in outcome.dropped {
            self.dropped.add(reason, 1, place);
        }
    }
}
