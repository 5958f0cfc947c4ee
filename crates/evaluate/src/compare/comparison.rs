//! The comparison: opens the runs, samples and measures their answers, writes the report.

use super::config::{CompareConfig, Oracle, RESULTS};
use super::judged::judged;
use super::measure::{Drawing, Measured, Measurement};
use super::plan::{Entry, Plan};
use super::report::{CompareReport, RewardNote, Row};
use crate::fastchat;
use crate::jsonl;
use crate::judge::JudgeConfig;
use crate::oracle;
use crate::policies::{self, PolicyOpener, Reward};
use crate::stats::{self, Wins};
use crate::trained_on::TrainedOn;
use anyhow::{Context, Result, bail};
use data::Prompt;
use policy::Policy;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

/// Compares the runs, with the judge of the environment variables if `judge_questions` is given.
pub fn compare(config: &CompareConfig) -> Result<CompareReport> {
    let judge = match &config.judge_questions {
        None => {
            if JudgeConfig::from_env()?.is_some() {
                run::say!("WICK_JUDGE_URL is set; add --judge-questions FILE for the judge's column");
            }
            None
        }
        Some(_) => Some(JudgeConfig::from_env()?.context(
            "--judge-questions needs a judge; set WICK_JUDGE_URL, WICK_JUDGE_MODEL and WICK_JUDGE_KEY",
        )?),
    };
    compare_with(config, judge)
}

/// Samples, measures and writes the report into `config.out`.
pub fn compare_with(config: &CompareConfig, judge: Option<JudgeConfig>) -> Result<CompareReport> {
    config.check()?;
    let plan = Plan::new(config)?;
    // Before anything is measured.
    let questions = match (&config.judge_questions, &judge) {
        (Some(file), Some(_)) => fastchat::questions(file)?,
        _ => Vec::new(),
    };
    let reward = plan.reward.as_deref().and_then(Path::to_str);
    let texts = config.runs.iter().map(String::as_str).chain(reward);
    let mut opener = PolicyOpener::new(&config.device, config.base.as_deref(), texts)?;
    let policies = plan.entries.iter().map(|entry| {
        let mut policy = opener.policy(&entry.text)?;
        policy.name = entry.name.clone();
        Ok(policy)
    });
    let policies: Vec<Policy> = policies.collect::<Result<_>>()?;
    let reward = plan.reward.as_deref().map(|dir| opener.reward(dir));
    let reward = reward.transpose()?;
    let prompts = fitting(&plan, &policies)?;
    std::fs::create_dir_all(&config.out)
        .with_context(|| format!("cannot create {}", config.out.display()))?;
    let measurement = Measurement {
        prompts: &prompts,
        reward: reward.as_ref(),
        with_oracle: match config.oracle {
            Oracle::None => false,
            Oracle::Tiny => true,
            Oracle::Auto => prompts.iter().all(|p| oracle::grade(&p.ask, "").is_some()),
        },
        metrics: &config.metrics,
        drawing: Drawing {
            sampling: plan.sampling,
            seed: config.seed,
            max_rows: config.batch,
        },
    };
    let keys: Vec<u64> = prompts.iter().map(Prompt::key).collect();
    let trained = trained_on(&plan.entries, &keys)?;
    let runs = plan.entries.iter().zip(&policies);
    let mut measured = Vec::with_capacity(policies.len());
    for (entry, policy) in runs.clone() {
        let reference = reference(entry, policy, &mut opener)?;
        measured.push(measurement.of(policy, &entry.name, reference.as_ref())?);
    }
    let mut rows = Vec::with_capacity(policies.len());
    for ((entry, policy), (mine, trained)) in runs.zip(measured.iter().zip(trained)) {
        let policy = policies::fingerprint(&entry.text, policy)?;
        rows.push(Row {
            trained_prompts: trained,
            policy_sha256: run::hash(policy.as_bytes()),
            ..row(entry, mine, &measured[0], config.seed)
        });
    }
    let report = CompareReport {
        prompts_from: plan.prompts_from.clone(),
        prompts: prompts.len(),
        prompts_sha256: hash_of(&keys),
        prompts_left_out: plan.prompts.len() - prompts.len(),
        temperature: plan.sampling.temperature,
        max_new_tokens: plan.sampling.max_new_tokens,
        seed: config.seed,
        reward: reward.as_ref().map(note),
        rows,
        judge: judge
            .map(|judge| judged(config, judge, &questions, &plan.entries, &policies))
            .transpose()?,
    };
    let responses = jsonl::to_text(&responses(&plan.entries, &prompts, &measured))?;
    let json = serde_json::to_string_pretty(&report)?;
    for (name, text) in RESULTS
        .into_iter()
        .zip([responses, json, report.markdown()])
    {
        run::write_text(&config.out.join(name), &text)?;
    }
    Ok(report)
}

/// How many of the prompts each run was trained on; None: a plain model.
fn trained_on(entries: &[Entry], keys: &[u64]) -> Result<Vec<Option<usize>>> {
    let count = |entry: &Entry| match entry.run {
        None => Ok(None),
        Some(_) => Ok(Some(TrainedOn::of(&entry.text)?.count(&entry.name, keys))),
    };
    entries.iter().map(count).collect()
}

/// Identifies the prompts, in their order.
fn hash_of(keys: &[u64]) -> String {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    run::hash(&bytes)
}

/// The prompts whose answers fit the context of every run.
fn fitting(plan: &Plan, policies: &[Policy]) -> Result<Vec<Prompt>> {
    let mut kept = Vec::with_capacity(plan.prompts.len());
    for prompt in &plan.prompts {
        let mut fits = true;
        for policy in policies {
            let context = policy.model().config.decoding_context();
            fits &= policy.encoder.prompt(prompt)?.len() + plan.sampling.max_new_tokens <= context;
        }
        if let (true, Some(first)) = (fits, policies.first()) {
            let mut prompt = prompt.clone();
            if let Some(reference) = &prompt.reference {
                let reference = first.encoder.without_end(&prompt, reference);
                prompt.reference = Some(reference.to_string());
            }
            kept.push(prompt);
        }
    }
    let notes = policies.iter().map(|p| p.encoder.row_notes("compared"));
    for note in notes.flatten().collect::<BTreeSet<_>>() {
        run::say!("{note}");
    }
    if kept.is_empty() {
        bail!(
            "no prompt of {} leaves room for {} new tokens in the context; lower --max-new-tokens",
            plan.prompts_from,
            plan.sampling.max_new_tokens
        );
    }
    Ok(kept)
}

/// The policy that an RL run started from; `None` if its base is another one.
fn reference(entry: &Entry, of: &Policy, opener: &mut PolicyOpener) -> Result<Option<Policy>> {
    let recorded = entry.run.as_ref().and_then(|run| {
        let reference = run.info.get("reference")?.as_str()?;
        Some(policy::find_recorded(&run.dir, reference))
    });
    let Some(text) = recorded else {
        return Ok(None);
    };
    let reference = opener
        .policy(&text)
        .with_context(|| format!("the reference of {}", entry.name))?;
    if !Rc::ptr_eq(&reference.base, &of.base) {
        run::say!(
            "{}: no KL, since its reference {text} has another base",
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
    let difference = |pairs: Vec<(f64, f64)>| {
        (!is_first)
            .then(|| stats::paired_difference(pairs, seed))
            .flatten()
    };
    let oracles = mine.oracle.iter().zip(&first.oracle);
    let oracles: Vec<(f64, f64)> = oracles.filter_map(|(m, f)| Some(((*m)?, (*f)?))).collect();
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
        reward_difference: mine
            .reward
            .as_ref()
            .zip(first.reward.as_ref())
            .and_then(|(m, f)| difference(both(m, f))),
        oracle: stats::estimate(&graded(mine), seed),
        oracle_difference: difference(oracles.clone()),
        oracle_wins: wins(oracles),
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
            .filter(|bytes| *bytes > 0.0) // 0: unknown
            .map(|bytes| bytes / 1e9),
        samples_drawn: number("/summary/samples_drawn"),
        tokens_drawn: number("/summary/tokens_drawn"),
        trained_prompts: None,
        policy_sha256: String::new(),
    }
}

/// The sampled answers, one line per prompt.
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
        json!({ "prompt": prompt.ask.text(), "reference": prompt.reference, "answers": answers })
    };
    prompts.iter().enumerate().map(line).collect()
}
