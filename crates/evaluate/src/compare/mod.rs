//! `evaluate compare`: the table of several runs on the same held-out prompts (ESRL's Table 3): reward with intervals and
//! win rates, oracle or judge, length, KL, hours and memory.

mod measure;
mod metrics;
mod plan;
mod table;

pub use metrics::Metric;
pub use table::{CompareReport, RewardNote, Row};

use crate::answers::{AnswersConfig, Identity, answer_with};
use crate::fastchat::{self, Answer};
use crate::judge::{Judge, JudgeConfig, JudgeReport, judge_with};
use crate::policies::{Reward, Shelf};
use crate::stats::{self, Wins};
use anyhow::{Context, Result, bail, ensure};
use data::{Format, Prompt};
use measure::{Drawing, Measured, measure};
use plan::{Entry, Plan};
use policy::Policy;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Oracle {
    /// Grade where every question is one of the tiny world's
    Auto,
    /// Grade the questions that the tiny world knows
    Tiny,
    None,
}

#[derive(Clone, Debug, clap::Args)]
pub struct CompareConfig {
    /// Runs of sft and esrl-rlhf, or plain models; win rates are against the first
    #[arg(long, required = true, num_args = 1.., value_name = "RUN")]
    pub runs: Vec<String>,
    /// Held-out prompts, in any data format (default: those that the first RL run held out)
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Format of --prompts
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = crate::score::format)]
    pub format: Format,
    /// Use the first N prompts
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub n: usize,
    /// Reward-model run (default: the one the first RL run was trained with)
    #[arg(long, value_name = "RUN")]
    pub reward: Option<PathBuf>,
    /// Directory for compare.md, compare.json and responses.jsonl (what was drawn)
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    pub out: PathBuf,
    /// Exact grades
    #[arg(long, value_enum, default_value_t = Oracle::Auto)]
    pub oracle: Oracle,
    /// Of the answers against the prompts' reference answers: bleu, rouge_l
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub metrics: Vec<Metric>,
    /// FastChat questions for the judge that WICK_JUDGE_URL, WICK_JUDGE_MODEL and WICK_JUDGE_KEY name
    #[arg(long, value_name = "FILE")]
    pub judge_questions: Option<PathBuf>,
    /// Longest judged answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub judge_max_new_tokens: usize,
    /// Default: the first RL run's rollout temperature, else 1; 0 is greedy
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Default: the first RL run's, else 256
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Answers drawn together
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch: usize,
    /// Of sampling and bootstrap; the same for every run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl CompareConfig {
    /// The command line's defaults.
    pub fn new(runs: &[&str], out: &std::path::Path) -> Self {
        Self {
            runs: runs.iter().map(|r| r.to_string()).collect(),
            prompts: None,
            format: Format::Auto,
            n: 100,
            reward: None,
            out: out.to_path_buf(),
            oracle: Oracle::Auto,
            metrics: Vec::new(),
            judge_questions: None,
            judge_max_new_tokens: 1024,
            temperature: None,
            max_new_tokens: None,
            batch: 32,
            seed: 1,
            device: "cpu".to_string(),
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.n > 0, "--n 0: nothing could be compared");
        ensure!(self.batch > 0, "--batch 0: nothing could be drawn");
        ensure!(
            self.max_new_tokens != Some(0),
            "--max-new-tokens 0: an answer needs room"
        );
        let hot = self.temperature.unwrap_or(1.0);
        ensure!(
            hot.is_finite() && hot >= 0.0,
            "--temperature {hot} is not a temperature"
        );
        ensure!(
            !self.out.exists() || self.out.is_dir(),
            "{} is a file; --out is a directory",
            self.out.display()
        );
        Ok(())
    }
}

/// Compares with the judge that the environment names, if `judge_questions` are given.
pub fn compare(config: &CompareConfig) -> Result<CompareReport> {
    let judge = match &config.judge_questions {
        None => {
            if JudgeConfig::from_env()?.is_some() {
                eprintln!("WICK_JUDGE_URL is set; give --judge-questions FILE for the judge's column");
            }
            None
        }
        Some(_) => Some(JudgeConfig::from_env()?.context(
            "--judge-questions needs a judge; set WICK_JUDGE_URL, WICK_JUDGE_MODEL and WICK_JUDGE_KEY",
        )?),
    };
    compare_with(config, judge)
}

/// Draws, measures and writes the report into `config.out`.
pub fn compare_with(config: &CompareConfig, judge: Option<JudgeConfig>) -> Result<CompareReport> {
    config.check()?;
    let plan = Plan::new(config)?;
    let mut shelf = Shelf::new(&config.device)?;
    let policies = plan.entries.iter().map(|entry| {
        let mut policy = shelf.policy(&entry.text)?;
        policy.name = entry.name.clone();
        Ok(policy)
    });
    let policies: Vec<Policy> = policies.collect::<Result<_>>()?;
    let reward = plan
        .reward
        .as_deref()
        .map(|dir| shelf.reward(dir))
        .transpose()?;
    let prompts = fitting(&plan, &policies)?;
    std::fs::create_dir_all(&config.out)
        .with_context(|| format!("cannot create {}", config.out.display()))?;
    let with_oracle = match config.oracle {
        Oracle::None => false,
        Oracle::Tiny => true,
        Oracle::Auto => prompts.iter().all(|p| measure::oracle(p, "").is_some()),
    };
    let drawing = Drawing {
        sampling: plan.sampling,
        seed: config.seed,
        max_rows: config.batch,
    };
    let mut measured = Vec::with_capacity(policies.len());
    for (entry, policy) in plan.entries.iter().zip(&policies) {
        let reference = reference(entry, policy, &mut shelf)?;
        measured.push(measure(
            policy,
            &entry.name,
            reference.as_ref(),
            reward.as_ref(),
            &prompts,
            with_oracle,
            &config.metrics,
            drawing,
        )?);
    }
    let rows = plan.entries.iter().zip(&measured);
    let report = CompareReport {
        prompts_from: plan.prompts_from.clone(),
        prompts: prompts.len(),
        prompts_left_out: plan.prompts.len() - prompts.len(),
        temperature: plan.sampling.temperature,
        max_new_tokens: plan.sampling.max_new_tokens,
        seed: config.seed,
        reward: reward.as_ref().map(note),
        rows: rows
            .map(|(e, m)| row(e, m, &measured[0], config.seed))
            .collect(),
        judge: judge
            .map(|judge| judged(config, judge, &plan.entries, &policies))
            .transpose()?,
    };
    let responses = responses(&plan.entries, &prompts, &measured);
    let json = serde_json::to_string_pretty(&report)?;
    run::atomic_write(
        &config.out.join("responses.jsonl"),
        crate::jsonl::to_text(&responses)?.as_bytes(),
    )?;
    run::atomic_write(&config.out.join("compare.json"), json.as_bytes())?;
    run::atomic_write(&config.out.join("compare.md"), report.markdown().as_bytes())?;
    Ok(report)
}

/// The prompts that leave every run room for a whole answer.
fn fitting(plan: &Plan, policies: &[Policy]) -> Result<Vec<Prompt>> {
    let mut kept = Vec::with_capacity(plan.prompts.len());
    for prompt in &plan.prompts {
        let mut fits = true;
        for policy in policies {
            let context = policy.model().config.max_position_embeddings;
            fits &= policy.encoder.prompt(prompt)?.len() + plan.sampling.max_new_tokens <= context;
        }
        if fits {
            kept.push(prompt.clone());
        }
    }
    if kept.is_empty() {
        bail!(
            "no prompt of {} leaves room for {} new tokens in the context; give a smaller --max-new-tokens",
            plan.prompts_from,
            plan.sampling.max_new_tokens
        );
    }
    Ok(kept)
}

/// The policy that an RL run started from, where it stands on the same base.
fn reference(entry: &Entry, policy: &Policy, shelf: &mut Shelf) -> Result<Option<Policy>> {
    let recorded = entry
        .run
        .as_ref()
        .and_then(|run| run.info.get("reference")?.as_str());
    let Some(text) = recorded else {
        return Ok(None);
    };
    let reference = shelf
        .policy(text)
        .with_context(|| format!("the reference of {}", entry.name))?;
    if !std::rc::Rc::ptr_eq(&reference.base, &policy.base) {
        eprintln!(
            "{}: its reference {text} stands on another base; no KL",
            entry.name
        );
        return Ok(None);
    }
    Ok(Some(reference))
}

fn note(reward: &Reward) -> RewardNote {
    RewardNote {
        name: reward.name.clone(),
        mean: reward.model.mean,
        std: reward.model.std,
    }
}

fn row(entry: &Entry, mine: &Measured, first: &Measured, seed: u64) -> Row {
    let info = entry.run.as_ref().map(|run| &run.info);
    let number = |path: &str| info?.pointer(path)?.as_f64();
    let is_first = std::ptr::eq(mine, first);
    let column = |values: &Option<Vec<f64>>| stats::estimate(values.as_ref()?, seed);
    let graded = |m: &Measured| m.oracle.iter().flatten().copied().collect::<Vec<_>>();
    let wins = |pairs: Vec<(f64, f64)>| {
        (!is_first)
            .then(|| Wins::from_scores(pairs, seed))
            .flatten()
    };
    let both = |m: &Vec<f64>, f: &Vec<f64>| m.iter().copied().zip(f.iter().copied()).collect();
    let oracles = mine.oracle.iter().zip(&first.oracle);
    Row {
        name: entry.name.clone(),
        source: entry.text.clone(),
        stage: entry.run.as_ref().map(|run| run.stage.clone()),
        algorithm: info
            .and_then(|info| info.pointer("/algorithm/name")?.as_str())
            .map(str::to_string),
        reward: column(&mine.reward),
        reward_normalised: column(&mine.reward_normalised),
        reward_wins: mine
            .reward
            .as_ref()
            .zip(first.reward.as_ref())
            .and_then(|(m, f)| wins(both(m, f))),
        oracle: stats::estimate(&graded(mine), seed),
        oracle_wins: wins(oracles.filter_map(|(m, f)| Some(((*m)?, (*f)?))).collect()),
        corpus_bleu: mine.compared.corpus_bleu,
        bleu: column(&mine.compared.bleu),
        rouge_l: column(&mine.compared.rouge_l),
        length_tokens: stats::estimate(&mine.lengths, seed).expect("there is a prompt"),
        eos_rate: stats::mean(&mine.ended),
        kl_k1: mine
            .kl
            .as_ref()
            .and_then(|kl| stats::estimate(&kl.k1, seed)),
        kl_exact: mine
            .kl
            .as_ref()
            .and_then(|kl| stats::estimate(&kl.exact, seed)),
        wall_hours: number("/wall_secs").map(|secs| secs / 3600.0),
        peak_memory_gb: number("/peak_memory_bytes")
            .filter(|bytes| *bytes > 0.0) // 0: a system that does not say
            .map(|bytes| bytes / 1e9),
        samples_drawn: number("/summary/samples_drawn"),
        tokens_drawn: number("/summary/tokens_drawn"),
    }
}

/// Answers of every run to the judge's questions (continued where they exist), and the verdicts.
fn judged(
    config: &CompareConfig,
    judge: JudgeConfig,
    entries: &[Entry],
    policies: &[Policy],
) -> Result<JudgeReport> {
    let path = config
        .judge_questions
        .as_deref()
        .context("--judge-questions is missing")?;
    let questions = fastchat::questions(path)?;
    let mut all: Vec<(String, Vec<Answer>)> = Vec::with_capacity(entries.len());
    for (entry, policy) in entries.iter().zip(policies) {
        let mut answers = AnswersConfig {
            max_new_tokens: config.judge_max_new_tokens,
            batch: config.batch,
            seed: config.seed,
            model_id: Some(entry.name.clone()),
            ..AnswersConfig::new(&entry.text, path, &config.out)
        };
        let identity = Identity::new(&answers, policy)?;
        // Named by what decides the answers: a run that was trained anew is answered anew.
        let id = identity.answer_id(&answers, &questions[0]);
        answers.out = config.out.join(format!("answers-{id}.jsonl"));
        let there = crate::jsonl::read_appended(&answers.out)?;
        identity.check(&answers, &there, &questions)?;
        answer_with(policy, &identity, &answers, &questions)?;
        all.push((
            entry.name.clone(),
            crate::jsonl::read_appended(&answers.out)?,
        ));
    }
    let mut judge = Judge::open(judge, &config.out.join("verdicts.jsonl"))?;
    judge_with(&mut judge, &questions, &all, config.seed)
}

/// What was drawn, one line a prompt, for reading.
fn responses(entries: &[Entry], prompts: &[Prompt], measured: &[Measured]) -> Vec<Value> {
    let answer = |m: &Measured, i: usize| {
        json!({
            "text": m.texts[i],
            "reward": m.reward.as_ref().map(|r| r[i]),
            "oracle": m.oracle[i],
            "bleu": m.compared.bleu.as_ref().map(|b| b[i]),
            "rouge_l": m.compared.rouge_l.as_ref().map(|r| r[i]),
            "tokens": m.lengths[i],
            "kl_exact": m.kl.as_ref().map(|kl| kl.exact[i]),
        })
    };
    let line = |(i, prompt): (usize, &Prompt)| {
        let answers: serde_json::Map<String, Value> = entries
            .iter()
            .zip(measured)
            .map(|(e, m)| (e.name.clone(), answer(m, i)))
            .collect();
        json!({ "prompt": prompt.ask, "reference": prompt.reference, "answers": answers })
    };
    prompts.iter().enumerate().map(line).collect()
}
