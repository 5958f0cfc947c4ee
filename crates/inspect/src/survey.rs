//! Counts what the rows hold, one after the other.

use crate::Stage;
use crate::conversations::Conversations;
use crate::examples::{ExampleView, as_text, as_tokens};
use crate::fields::Fields;
use crate::item::Item;
use crate::lengths::Lengths;
use crate::overlap::{Overlap, prompt_of};
use crate::reasons::Reasons;
use crate::refusal::reason;
use crate::report::{Duplicates, FormatFacts, SourceFacts};
use crate::row_source::RowSource;
use crate::stage::Outcome;
use crate::tokens::Tokens;
use data::{FieldUse, Format, Mixture, Only, Origin, ReadOptions, RowView, TrainOn};
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// How rows are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Looking {
    /// Records that are shown of each path
    pub n_examples: usize,
    /// Which answers of a conversation are learnt
    pub train_on: TrainOn,
}

/// What is counted.
pub(crate) struct Survey<'a> {
    looking: Looking,
    /// What is being read
    source: &'a RowSource,
    /// Examples of the path that is being read, and the formats of these
    n_shown: usize,
    shown_formats: BTreeSet<&'static str>,
    /// For each source its paths, weight and records for each stage
    records: Vec<(&'a RowSource, [u64; 3])>,
    /// None until the first row, where nothing else says it
    known_stage: Option<Stage>,
    pub stage: Stage,
    pub n_rows: u64,
    /// Whether not all rows were looked at
    pub is_beginning: bool,
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
    /// The formats of the files, in the order in which they were met
    pub formats: Vec<FormatFacts>,
    last_file: PathBuf,
    pub n_records: u64,
    pub refused: Reasons,
    pub dropped: Reasons,
    pub fields: Fields,
}

impl<'a> Survey<'a> {
    pub fn new(
        looking: Looking,
        source: &'a RowSource,
        stage: Option<Stage>,
        tokens: Option<Tokens>,
        overlap: Option<Overlap>,
    ) -> Self {
        Self {
            looking,
            source,
            n_shown: 0,
            shown_formats: BTreeSet::new(),
            records: Vec::new(),
            known_stage: stage,
            stage: stage.unwrap_or(Stage::Sft),
            n_rows: 0,
            is_beginning: false,
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

    /// What is read next.
    pub fn begin_source(&mut self, source: &'a RowSource) {
        self.source = source;
        self.records.push((source, [0; 3]));
    }

    /// A path of the source is read next.
    pub fn begin_path(&mut self) {
        self.n_shown = 0;
        self.shown_formats.clear();
    }

    /// Rows and visits of each source.
    pub fn mixture(&self) -> Vec<SourceFacts> {
        let n_rows = |counts: &[u64; 3]| counts[self.stage as usize];
        let parts = self.records.iter();
        let parts = parts.map(|(source, counts)| (n_rows(counts) as usize, source.weight));
        let mixture = Mixture::new(&parts.collect::<Vec<_>>());
        let all = mixture.n_visits().max(1) as f64;
        let sources = self.records.iter().zip(mixture.parts());
        let facts = sources.map(|((source, _), (n_rows, n_visits))| SourceFacts {
            path: source.paths.to_string(),
            rows: n_rows as u64,
            visits: n_visits as u64,
            share: n_visits as f64 / all,
        });
        facts.collect()
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
            tally.add(row, &outcome, &self.source.options, &place);
            let used = &mut self.records.last_mut().expect("a source was begun").1[stage as usize];
            let mut items = Item::of_row(row, stage);
            let mut number = 0;
            items.retain(|item| {
                number += 1;
                let takes = |only: &Only| only.takes(&item.prompt.ask);
                let why = if !self.source.only.as_ref().is_none_or(takes) {
                    "not matched by --only"
                } else if stage == Stage::Rlhf && (is_repeated || number > 1) {
                    "repeated prompt"
                } else if self.source.max_rows.is_some_and(|max| *used >= max as u64) {
                    "after the first data.max_rows"
                } else {
                    *used += 1;
                    return true;
                };
                tally.dropped.add(why, 1, place);
                false
            });
            tally.n_records += items.len() as u64;
            if stage == self.stage {
                self.add_items(&items, outcome.format.map(|(name, _)| name));
            }
        }
        self.show_other(row);
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
        let only = self.source.only.as_ref();
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
    fn add_items(&mut self, items: &[Item], format: Option<&'static str>) {
        for item in items {
            self.conversations.add(item, self.looking.train_on);
            let [prompts, answers, wholes] = &mut self.characters;
            let prompt = item.prompt.ask.text().chars().count();
            let lengths = item
                .answers
                .iter()
                .map(|(_, turn)| turn.text().chars().count());
            let lengths: Vec<usize> = lengths.collect();
            prompts.add(prompt);
            lengths.iter().for_each(|length| answers.add(*length));
            wholes.add(prompt + lengths.iter().max().unwrap_or(&0));
            self.show(item, format);
            if let Some(tokens) = &mut self.tokens {
                tokens.add(item);
            }
        }
    }

    /// Keeps a record as an example, if there is room: of each path some, and of each format in it
    /// one at least.
    fn show(&mut self, item: &Item, format: Option<&'static str>) {
        let is_new = format.is_some_and(|name| !self.shown_formats.contains(name));
        let n_wanted = self.looking.n_examples;
        if self.n_shown >= n_wanted && !(is_new && n_wanted > 0) {
            return;
        }
        let view = match &self.tokens {
            None => Ok(as_text(item, self.looking.train_on)),
            Some(tokens) => as_tokens(item, tokens),
        };
        // why it cannot be tokenised is counted where it is
        if let Ok(view) = view {
            self.examples.push(view);
            self.n_shown += 1;
            self.shown_formats.extend(format);
        }
    }

    /// Shows a row of a file that the stage refuses as a whole as another stage takes it.
    fn show_other(&mut self, row: &RowView) {
        let is_refused = |stage: Stage| match stage {
            Stage::Sft => row.demonstrations.format.is_none(),
            Stage::Rm => row.preferences.format.is_none(),
            Stage::Rlhf => row.prompts.format.is_none(),
        };
        let other = Stage::of_row(row).filter(|_| is_refused(self.stage));
        let Some(other) = other else { return };
        let format = match other {
            Stage::Sft => row.demonstrations.format,
            Stage::Rm => row.preferences.format,
            Stage::Rlhf => row.prompts.format,
        };
        for item in Item::of_row(row, other) {
            self.show(&item, format.map(|(name, _)| name));
        }
    }
}

impl Tally {
    fn add(
        &mut self,
        row: &RowView,
        outcome: &Outcome,
        options: &ReadOptions,
        place: &dyn Fn() -> String,
    ) {
        if self.last_file != row.file {
            self.last_file = row.file.to_path_buf();
            self.add_format(row, outcome, options);
        }
        self.fields.add(outcome.fields);
        if !options.ignore.is_empty() && !outcome.fields.is_empty() {
            self.fields.add_inner(row.object, &options.ignore);
        }
        if let Some(why) = outcome.refused {
            let why = reason(why, outcome.fields, options, &[]);
            self.refused.add(&why, 1, place);
        }
        for reason in outcome.dropped {
            self.dropped.add(reason, 1, place);
        }
    }

    /// The format of a file, by its first row.
    fn add_format(&mut self, row: &RowView, outcome: &Outcome, options: &ReadOptions) {
        let Some((name, fields)) = outcome.format else {
            return;
        };
        if let Some(known) = self.formats.iter_mut().find(|known| known.name == name) {
            known.files += 1;
            return;
        }
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
        self.formats.push(FormatFacts {
            name: name.to_string(),
            fields: fields.to_string(),
            is_given: options.format != Format::Auto,
            decided_by: decided,
            files: 1,
            first_file: row.file.display().to_string(),
        });
    }
}
