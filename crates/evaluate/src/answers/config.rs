//! The arguments of `wick answers`.

use super::asked::{self, Asked};
use crate::fastchat::category_temperature;
use crate::output::ensure_parent;
use anyhow::{Result, bail, ensure};
use data::ReadOptions;
use std::path::{Path, PathBuf};

/// The arguments of `wick answers`.
#[derive(Clone, Debug, clap::Args)]
pub struct AnswersConfig {
    /// Run directory of sft or esrl-rlhf, an adapter of PEFT, or a plain model: Hugging Face
    /// directory, .gguf file or hub id
    #[arg(long, value_name = "RUN")]
    pub run: String,
    /// Where the base of a run or adapter is, if not where that says; its numbers must be the same
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// FastChat questions (JSONL with question_id, category and text or turns), or any file of
    /// prompts that training takes: Alpaca, conversations, prompt
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,
    /// Fields of the rows of --questions to ignore; any other unused field is reported
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Names of the fields of --questions: NAME=FIELD, separated by commas;
    /// with it the file is read as one of prompts, not as FastChat questions
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = data::column,
        requires = "questions")]
    pub columns: Vec<(String, String)>,
    /// A question to answer at once, instead of --questions; may be given several times. The
    /// answers are printed, unless --out is given
    #[arg(long, value_name = "TEXT", conflicts_with = "questions")]
    pub prompt: Vec<String>,
    /// Answer file to write; an existing one is continued
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Always take the most likely token, in every category
    #[arg(long, conflicts_with = "temperature")]
    pub greedy: bool,
    /// One temperature for all, instead of FastChat's by category (math, coding, reasoning,
    /// extraction 0; stem, humanities 0.1; others 0.7)
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Longest answer, in tokens (less if the context ends earlier)
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_new_tokens: usize,
    /// Questions answered, and written, together
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Seed of the sampling
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// model_id of the answers (default: the name of the run or model)
    #[arg(long, value_name = "NAME")]
    pub model_id: Option<String>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl AnswersConfig {
    /// The defaults of the command line.
    pub fn new(run: &str, questions: &Path, out: &Path) -> Self {
        Self {
            run: run.to_string(),
            base: None,
            questions: Some(questions.to_path_buf()),
            ignore: Vec::new(),
            columns: Vec::new(),
            prompt: Vec::new(),
            out: Some(out.to_path_buf()),
            greedy: false,
            temperature: None,
            max_new_tokens: 1024,
            batch: 16,
            seed: 1,
            model_id: None,
            device: "cpu".to_string(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.batch > 0, "--batch 0; it must be at least 1");
        ensure!(
            self.max_new_tokens > 0,
            "--max-new-tokens 0; it must be at least 1"
        );
        let temperature = self.temperature.unwrap_or(0.0);
        ensure!(
            temperature.is_finite() && temperature >= 0.0,
            "--temperature {temperature}; it must be a number, 0 or more"
        );
        match &self.out {
            Some(out) => {
                ensure!(
                    !out.is_dir(),
                    "{} is a directory; --out is a file",
                    out.display()
                );
                ensure_parent(out)?;
            }
            None => ensure!(
                !self.prompt.is_empty(),
                "--out FILE is missing; the answers to --questions are written into it"
            ),
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> Result<Vec<Asked>> {
        match (&self.questions, &self.prompt[..]) {
            (Some(path), []) => {
                let options = ReadOptions {
                    ignore: self.ignore.clone(),
                    columns: data::columns(&self.columns)?,
                    ..ReadOptions::default()
                };
                asked::from_file(path, options)
            }
            (None, prompts @ [_, ..]) => asked::from_command_line(prompts),
            (Some(_), _) => bail!("both --questions and --prompt are given; give one of them"),
            (None, []) => bail!("nothing to answer; give --questions FILE or --prompt TEXT"),
        }
    }

    pub(super) fn temperature(&self, category: &str) -> f32 {
        match self.temperature {
            _ if self.greedy => 0.0,
            Some(temperature) => temperature,
            None => category_temperature(category),
        }
    }
}
