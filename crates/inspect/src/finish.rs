//! The report, from what was counted.

use crate::Stage;
use crate::commands::{Settings, command};
use crate::files::file_facts;
use crate::max_len::MaxLen;
use crate::report::{FormatFacts, HeldOut, LengthReport, Report, StageFacts, TemplateFacts};
use crate::row_source::{Given, Rows};
use crate::survey::Survey;
use crate::tokens::MAX_EXACT;
use data::{PathRows, TooLong};
use policy::PolicyMeta;

/// What `auto` takes.
pub(crate) fn own_template(meta: &PolicyMeta) -> &'static str {
    match meta.base.chat_template {
        Some(_) => "chat",
        None => "alpaca",
    }
}

/// What a report is made of, beside the rows.
pub(crate) struct Finish<'a> {
    pub given: &'a Given<'a>,
    pub model: Option<&'a str>,
    pub rows: &'a Rows,
    pub meta: Option<&'a PolicyMeta>,
    pub template: Option<TemplateFacts>,
    pub max_len: MaxLen,
}

impl Finish<'_> {
    /// The report.
    pub fn of(self, mut survey: Survey, read: PathRows, is_beginning: bool) -> Report {
        for file in &read.files {
            for tally in &mut survey.tallies {
                let place = || file.path.display().to_string();
                let n_too_big = file.n_too_big as u64;
                tally.dropped.add(row_files::TOO_BIG, n_too_big, place);
                let n_errors = u64::from(file.error.is_some());
                tally
                    .refused
                    .add("a file that cannot be read to its end", n_errors, place);
            }
        }
        let main = survey.stage as usize;
        let lengths = self.lengths(&mut survey);
        let findings = findings(&mut survey, lengths.as_ref());
        let n_prompts = survey.duplicates.distinct_prompts as usize;
        let share = self.rows.held_out;
        let share = share.unwrap_or_else(|| survey.stage.held_out());
        let of_stage = match survey.stage {
            Stage::Sft => read.stages.demonstrations,
            Stage::Rm => read.stages.preferences,
            Stage::Rlhf => read.stages.prompts,
        };
        let n_rows = read.files.iter().map(|file| file.n_rows as u64).sum();
        let mixture = match self.rows.is_mixture {
            true => survey.mixture(),
            false => Vec::new(),
        };
        Report {
            paths: self.rows.paths(),
            files: read.files.iter().map(file_facts).collect(),
            notes: [read.notes, of_stage].concat(),
            rows: n_rows,
            is_beginning,
            formats: formats(&survey),
            mixture,
            stage: survey.stage,
            stages: self.stages(&survey, lengths.as_ref()),
            template: self.template,
            fields: survey.tallies[main].fields.list(),
            further_fields: survey.tallies[main].fields.n_others(),
            held_out: HeldOut {
                share,
                prompts: data::n_held_out(n_prompts, share) as u64,
            },
            duplicates: survey.duplicates,
            overlap: survey.overlap.map(|overlap| overlap.facts()),
            lengths,
            conversations: survey.conversations.facts(),
            findings,
            examples: survey.examples,
        }
    }

    fn stages(&self, survey: &Survey, lengths: Option<&LengthReport>) -> Vec<StageFacts> {
        let settings = Settings {
            given: self.given,
            model: self.model,
            rows: self.rows,
            template: self
                .template
                .as_ref()
                .filter(|template| template.of != "run"),
            own_template: self.meta.map_or("alpaca", own_template),
            max_len: &self.max_len,
        };
        let facts = Stage::ALL.into_iter().map(|stage| {
            let tally = &survey.tallies[stage as usize];
            let refused = tally.refused.list();
            let is_main = stage == survey.stage;
            let leaves_none = is_main && lengths.is_some_and(leaves_none);
            let takes = refused.is_empty() && tally.n_records > 0 && !leaves_none;
            let has_command = takes && (is_main || self.given.config.is_none());
            StageFacts {
                stage,
                takes,
                records: tally.n_records,
                refused,
                dropped: tally.dropped.list(),
                command: has_command.then(|| command(stage, &settings)),
            }
        });
        facts.collect()
    }

    fn lengths(&self, survey: &mut Survey) -> Option<LengthReport> {
        let max_len = self.max_len.of(survey.stage);
        let [prompt, answer, whole] = &survey.characters;
        let n = whole.facts()?.n;
        let characters = LengthReport {
            unit: "characters",
            counted: n,
            of: n,
            prompt: prompt.facts(),
            answer: answer.facts(),
            whole: whole.facts(),
            histogram: whole.histogram(),
            max_len,
            longer: None,
            records_longer: None,
            records_partly_longer: None,
            too_long: match survey.stage {
                Stage::Sft | Stage::Rm => self.rows.too_long,
                Stage::Rlhf => TooLong::Drop,
            },
        };
        let Some(tokens) = &mut survey.tokens else {
            return Some(characters);
        };
        let lengths = tokens.lengths(max_len);
        Some(LengthReport {
            unit: "tokens",
            counted: lengths.n_counted,
            of: lengths.n_all,
            prompt: lengths.prompt.facts(),
            answer: lengths.answer.facts(),
            whole: lengths.whole.facts(),
            histogram: lengths.whole.histogram(),
            longer: Some(lengths.whole.n_above(max_len)),
            records_longer: Some(lengths.n_too_long),
            records_partly_longer: Some(lengths.n_partly_too_long),
            ..characters
        })
    }
}

/// Whether a stage would have no record left, or would stop at one, since they are too long.
fn leaves_none(lengths: &LengthReport) -> bool {
    let n_longer = lengths.records_longer.unwrap_or(0);
    match lengths.too_long {
        TooLong::Drop => n_longer > 0 && n_longer == lengths.of,
        TooLong::TruncateResponse => false,
        TooLong::Error => lengths.longer.unwrap_or(0) > 0,
    }
}

/// The formats of the files, as the stage of the report has them if it takes any.
fn formats(survey: &Survey) -> Vec<FormatFacts> {
    let order = [survey.stage, Stage::Rm, Stage::Sft, Stage::Rlhf];
    let lists = order
        .iter()
        .map(|stage| &survey.tallies[*stage as usize].formats);
    let mut found: Vec<FormatFacts> = Vec::new();
    for format in lists.flatten() {
        if !found.iter().any(|known| known.name == format.name) {
            found.push(format.clone());
        }
    }
    found
}

/// The messages about the tokens. A row whose tokens would stop the stage is counted as refused.
fn findings(survey: &mut Survey, lengths: Option<&LengthReport>) -> Vec<String> {
    let mut findings = Vec::new();
    let tally = &mut survey.tallies[survey.stage as usize];
    let Some(tokens) = &survey.tokens else {
        return findings;
    };
    for failure in tokens.failures.list() {
        let place = || failure.first.clone();
        tally.refused.add(&failure.reason, failure.rows, place);
    }
    let notes = tokens.encoder.row_notes("these");
    if tokens.is_sample() && !notes.is_empty() {
        findings.push("the next notes are of the records that were tokenised".into());
    }
    findings.extend(notes);
    let facts = survey.conversations.facts();
    let has_turns = facts.is_some_and(|facts| facts.most_turns > 2 || facts.with_system_prompt > 0);
    if has_turns && tokens.encoder.template().name() == "alpaca" {
        let text = "Alpaca's template has no turns: what comes before the last question of a \
                    conversation is its \"### Input:\"";
        findings.push(text.into());
    }
    let whole = lengths.and_then(|lengths| lengths.whole.as_ref());
    if whole.is_some_and(|whole| whole.max > MAX_EXACT) {
        findings.push(format!("lengths above {MAX_EXACT} tokens are lower bounds"));
    }
    findings
}
