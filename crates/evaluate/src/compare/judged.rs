//! The judge's part of a comparison: each run answers the judge's questions, and the judge grades
//! the answers.

use super::config::CompareConfig;
use super::plan::Entry;
use crate::answers::{AnswersConfig, Asked, Identity, answer_into};
use crate::fastchat::{Answer, Question};
use crate::judge::{Judge, JudgeConfig, JudgeReport, judge_with};
use anyhow::{Context, Result};
use policy::Policy;

/// Answers the judge's questions with each run, continuing existing files, and lets the judge
/// grade the answers.
pub(crate) fn judged(
    config: &CompareConfig,
    judge: JudgeConfig,
    questions: &[Question],
    entries: &[Entry],
    policies: &[Policy],
) -> Result<JudgeReport> {
    let path = config.judge_questions.as_deref();
    let path = path.context("--judge-questions is missing")?;
    let asked: Vec<Asked> = questions.iter().cloned().map(Asked::from).collect();
    let mut all: Vec<(String, Vec<Answer>)> = Vec::with_capacity(entries.len());
    for (entry, policy) in entries.iter().zip(policies) {
        let answers = AnswersConfig {
            max_new_tokens: config.judge_max_new_tokens,
            batch: config.batch,
            seed: config.seed,
            model_id: Some(entry.name.clone()),
            ..AnswersConfig::new(&entry.text, path, &config.out)
        };
        let identity = Identity::new(&answers, policy)?;
        // The file is named after everything the answers depend on, so a retrained run gets a new
        // one.
        let id = identity.answer_id(&answers, &asked[0]);
        let out = config.out.join(format!("answers-{id}.jsonl"));
        let (_, answered) = answer_into(&out, policy, &identity, &answers, &asked)?;
        all.push((entry.name.clone(), answered));
    }
    let mut judge = Judge::open(judge, &config.out.join("verdicts.jsonl"))?;
    judge_with(&mut judge, questions, &all, config.seed)
}
