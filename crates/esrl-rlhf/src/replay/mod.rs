//! `esrl-rlhf replay RUN --step N`: computes a step of a run again and shows what it learnt from,
//! token by token.
//!
//! Nothing is recorded for this. A run resumes exactly, so a copy of its last checkpoint before the
//! step is trained up to the step, and the metrics are compared with those in the run's
//! metrics.jsonl.

mod columns;
mod compare;
mod page;
mod settings;

pub(crate) use settings::SettingsByStep;

use crate::config::Config;
use crate::learner::Learner;
use crate::rl_step::StepReport;
use crate::row::Row;
use crate::train_loop::replay_to;
use algorithms::Experience;
use anyhow::{Context, Error, Result, anyhow, ensure};
use columns::{COLUMNS, Replayed};
use compare::Compared;
use policy::Batch;
use run::{Replace, RunArgs, StoppedBySignal};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Recompute one step of an RL run and show it token by token
///
/// Nothing is recorded for this: the run resumes exactly from its checkpoint before the step.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wick replay runs/ppo --step 12
  wick replay runs/ppo --step 12 --rows 0 3 --html step-12.html")]
pub struct ReplayConfig {
    /// Run directory of esrl-rlhf
    pub run: PathBuf,
    /// Step to recompute, counting from 1
    #[arg(long, value_name = "N")]
    pub step: u64,
    /// Where the base is now, if not where the run says; its numbers must be the same
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Rows of the step to print, counting from 0
    #[arg(long, num_args = 1.., value_name = "ROW", default_values_t = [0, 1])]
    pub rows: Vec<usize>,
    /// Write a page with all rows, tokens coloured
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace an existing --html
    #[arg(long)]
    pub force: bool,
}

/// Replays a step; the report as text. The run itself is not changed.
pub fn replay(config: &ReplayConfig) -> Result<String> {
    let dir = &config.run;
    let at = dir.display();
    let finished =
        run::open_saved_run(dir)?.with_context(|| format!("{at} is not a run directory"))?;
    ensure!(
        finished.stage == "esrl-rlhf",
        "{at} is a run of {}, not of esrl-rlhf",
        finished.stage
    );
    ensure!(config.step > 0, "--step 0: the first step is 1");
    let recorded = run::read_metrics(dir)?;
    let last = recorded.last().map_or(0, |row| row.step);
    ensure!(
        config.step <= last,
        "{at} has {last} steps, so there is no step {}",
        config.step
    );
    if let Some(page) = &config.html {
        let folder = page.parent().filter(|p| !p.as_os_str().is_empty());
        ensure!(
            folder.is_none_or(Path::is_dir),
            "--html {}: no such folder",
            page.display()
        );
        run::ensure_new(page, "--html", Replace::WithForce(config.force))?;
    }

    let scratch =
        tempfile::tempdir().context("cannot create a temporary directory for the replay")?;
    let copy = scratch.path().join("run");
    let from = copy_until(dir, &copy, config.step - 1)?;
    run::say!(
        "step {} from {}",
        config.step,
        match from {
            0 => "the start: there is no earlier checkpoint".to_string(),
            step => format!("the checkpoint of step {step}"),
        }
    );
    let mut settings: Config = run::from_table(&finished.config, "")?;
    settings.model.base = config.base.clone().or(settings.model.base);
    settings.train.steps = settings.train.steps.max(config.step as usize);
    settings.watch.stop = false;
    let args = RunArgs {
        run: Some(copy.clone()),
        resume: true,
        ..RunArgs::default()
    };
    let mut seen = None;
    let mut at_step = |learner: &Learner, report: &StepReport| {
        seen = Some((read(learner, report)?, report.metrics.clone()));
        Ok(())
    };
    // Errors name the run, not its copy, which is gone when they are read.
    let of_the_run = |why: Error| {
        if why.is::<StoppedBySignal>() {
            return why;
        }
        let copy = copy.to_string_lossy();
        anyhow!("{}", run::one_line(&why).replace(&*copy, &at.to_string()))
    };
    let by_step = SettingsByStep::read(&finished, from, config.step)?;
    replay_to(&args, (&settings, &by_step), config.step, &mut at_step).map_err(of_the_run)?;
    let (rows, metrics) = seen.context("the step was not reached")?;

    let mut text = table(&rows, &config.rows)?;
    let compared = Compared::new(&metrics, &recorded, config.step);
    text.push_str(&compared.line(&finished, by_step.is_certain));
    if let Some(page) = &config.html {
        let title = format!("{at}, step {}", config.step);
        run::write_text(page, &page::page(&title, &rows, &metrics)?)?;
        writeln!(text, "every token: {}", page.display())?;
    }
    Ok(text)
}

/// Copies the files of a run and its newest sound checkpoint of `step` or before. The checkpoint's
/// step, 0 if there is none.
fn copy_until(from: &Path, to: &Path, step: u64) -> Result<u64> {
    let (whole, damaged) = run::newest_intact(from, step)?;
    for (checkpoint, what) in damaged {
        let at = checkpoint.dir.display();
        run::say!("{at} is corrupt ({what}); the checkpoint before it is used");
    }
    let checkpoints = to.join("checkpoints");
    fs::create_dir_all(&checkpoints)?;
    copy_files(from, to)?;
    let Some(whole) = whole else {
        return Ok(0);
    };
    let target = checkpoints.join(whole.dir.file_name().unwrap_or_default());
    fs::create_dir(&target)?;
    copy_files(&whole.dir, &target)?;
    Ok(whole.step)
}

/// Copies the plain files of one folder.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for path in entries(from)? {
        if path.is_file() {
            let target = to.join(path.file_name().unwrap_or_default());
            // Not fs::copy, which would keep a file read-only.
            let bytes = fs::read(&path).and_then(|bytes| fs::write(&target, bytes));
            bytes.with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    read().with_context(|| format!("cannot read {}", dir.display()))
}

/// Log-probabilities of the rows' responses under the policy as it is now, at the temperature they
/// are scored at.
fn logps(learner: &Learner, rows: &[Row], exp: &Experience) -> Result<Vec<f32>> {
    let temperature = learner.scoring_temperature(exp);
    let (model, lora) = (learner.roles.model(), learner.roles.policy.frozen());
    let units: Vec<_> = rows.iter().map(|row| vec![row.sequence()]).collect();
    let mut logps = Vec::with_capacity(exp.n_tokens());
    for range in models::micro_batches(&units, learner.config.train.micro_batch_tokens) {
        let batch = Batch::new(rows[range.clone()].iter().map(Row::sequence));
        let scores = policy::score(model, Some(&lora), &batch, &temperature[range], None)?;
        logps.extend(scores.logp.detach().to_vec1::<f32>()?);
    }
    Ok(logps)
}

/// The rows that a step learnt from, right after its updates.
fn read(learner: &Learner, report: &StepReport) -> Result<Vec<Replayed>> {
    let exp = &report.exp;
    let logp = match exp.logp_old.is_empty() {
        true => &exp.logp_sampled,
        false => &exp.logp_old,
    };
    let mut ratio = Vec::new();
    if !logp.is_empty() {
        let after = logps(learner, &report.rows, exp)?;
        ratio = after
            .iter()
            .zip(logp)
            .map(|(after, before)| (after - before).exp())
            .collect();
    }
    let kl = match exp.logp_ref.is_empty() || logp.is_empty() {
        true => Vec::new(),
        false => logp.iter().zip(&exp.logp_ref).map(|(p, r)| p - r).collect(),
    };
    let columns: [&[f32]; 9] = [
        logp,
        &exp.logp_ref,
        &kl,
        &exp.kl_exact,
        &exp.rewards,
        &exp.values,
        &exp.advantages,
        &exp.returns,
        &ratio,
    ];
    let encoder = &learner.roles.encoder;
    let row = |(i, range): (usize, std::ops::Range<usize>)| {
        let row = &report.rows[i];
        let token = |id: &u32| encoder.token(*id);
        let of_row = |((name, _), column): (&(&'static str, &str), &&[f32])| {
            Some((*name, column.get(range.clone())?.to_vec()))
        };
        Replayed {
            prompt: row.task.prompt.ask.text(),
            score: exp.score.get(i).copied(),
            finished: row.finished,
            tokens: row.response().iter().map(token).collect(),
            columns: COLUMNS
                .iter()
                .zip(&columns)
                .filter(|(_, c)| !c.is_empty())
                .filter_map(of_row)
                .collect(),
        }
    };
    Ok(exp.layout().ranges().enumerate().map(row).collect())
}

/// The chosen rows as tables of tokens.
fn table(rows: &[Replayed], chosen: &[usize]) -> Result<String> {
    let mut text = String::new();
    for i in chosen {
        let row = rows.get(*i).with_context(|| {
            format!(
                "--rows {i}: the step has rows 0 to {}",
                rows.len().saturating_sub(1)
            )
        })?;
        let score = row
            .score
            .map_or(String::new(), |score| format!(", score {score:.4}"));
        let end = if row.finished { "ended" } else { "cut off" };
        writeln!(
            text,
            "row {i}: {:?}{score}, {} tokens, {end}",
            row.prompt,
            row.tokens.len()
        )?;
        let columns = COLUMNS
            .iter()
            .filter_map(|(name, _)| Some((*name, row.columns.get(name)?)));
        let columns: Vec<(&str, &Vec<f32>)> = columns.collect();
        write!(text, "{:>4}  {:<14}", "", "token")?;
        for (name, _) in &columns {
            write!(text, " {name:>10}")?;
        }
        text.push('\n');
        for (t, token) in row.tokens.iter().enumerate() {
            write!(text, "{t:>4}  {:<14}", format!("{token:?}"))?;
            for (_, values) in &columns {
                write!(text, " {:>10.4}", values[t])?;
            }
            text.push('\n');
        }
        text.push('\n');
    }
    Ok(text)
}
