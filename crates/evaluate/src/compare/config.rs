//! The arguments of `wick compare`.

use super::metrics::Metric;
use anyhow::{Result, ensure};
use data::Format;
use run::Replace;
use std::path::{Path, PathBuf};

/// The files of a comparison in `--out`.
pub(super) const RESULTS: [&str; 3] = ["responses.jsonl", "compare.json", "compare.md"];

/// Which questions the tiny world's oracle grades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Oracle {
    /// All, if every question is one of the tiny world's
    Auto,
    /// Those that the tiny world knows
    Tiny,
    /// None
    None,
}

/// The arguments of `wick compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareConfig {
    /// Runs of sft and esrl-rlhf, adapters of PEFT or plain models; win rates are against the first
    #[arg(long, required = true, num_args = 1.., value_name = "RUN")]
    pub runs: Vec<String>,
    /// Where the base of all runs and adapters is, if not where they say; its numbers must be the
    /// same
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Held-out prompts, in any data format (default: those that the first RL run held out)
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Format of --prompts
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "auto",
        value_parser = crate::score::format
    )]
    pub format: Format,
    /// Fields of the rows of --prompts to ignore; any other unused field is reported
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Names of the fields of --prompts: NAME=FIELD, separated by commas, as `data.columns` of the
    /// stages
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = data::column,
        requires = "prompts")]
    pub columns: Vec<(String, String)>,
    /// Use the first N prompts
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub n: usize,
    /// Reward-model run (default: the one the first RL run was trained with)
    #[arg(long, value_name = "RUN")]
    pub reward: Option<PathBuf>,
    /// Directory for compare.md, compare.json and responses.jsonl (the sampled answers)
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    pub out: PathBuf,
    /// Replace a comparison that --out has
    #[arg(long)]
    pub force: bool,
    /// Which questions the tiny world's oracle grades
    #[arg(long, value_enum, default_value_t = Oracle::Auto)]
    pub oracle: Oracle,
    /// Metrics of the answers against the prompts' reference answers: bleu, rouge_l
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub metrics: Vec<Metric>,
    /// FastChat questions for the judge of WICK_JUDGE_URL, WICK_JUDGE_MODEL and WICK_JUDGE_KEY
    #[arg(long, value_name = "FILE")]
    pub judge_questions: Option<PathBuf>,
    /// Longest judged answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub judge_max_new_tokens: usize,
    /// Sampling temperature, 0 for greedy (default: that of the first RL run's rollouts, else 1)
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Longest answer, in tokens (default: that of the first RL run, else 256)
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Answers sampled together
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch: usize,
    /// Seed of sampling and bootstrap, the same for every run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl CompareConfig {
    /// The defaults of the command line.
    pub fn new(runs: &[&str], out: &Path) -> Self {
        Self {
            runs: runs.iter().map(|r| r.to_string()).collect(),
            base: None,
            prompts: None,
            format: Format::Auto,
            ignore: Vec::new(),
            columns: Vec::new(),
            n: 100,
            reward: None,
            out: out.to_path_buf(),
            force: false,
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

    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.n > 0, "--n 0; it must be at least 1");
        ensure!(self.batch > 0, "--batch 0; it must be at least 1");
        ensure!(
            self.max_new_tokens != Some(0),
            "--max-new-tokens 0; it must be at least 1"
        );
        let temperature = self.temperature.unwrap_or(1.0);
        ensure!(
            temperature.is_finite() && temperature >= 0.0,
            "--temperature {temperature}; it must be a number, 0 or more"
        );
        ensure!(
            !self.out.exists() || self.out.is_dir(),
            "{} is a file; --out is a directory",
            self.out.display()
        );
        for name in RESULTS {
            run::ensure_new(
                &self.out.join(name),
                "--out",
                Replace::WithForce(self.force),
            )?;
        }
        Ok(())
    }
}
