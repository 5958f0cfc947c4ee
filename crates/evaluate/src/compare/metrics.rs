//! BLEU and ROUGE-L of a run's answers against the prompts' reference answers, from 0 to 100.

use anyhow::{Result, ensure};
use data::Prompt;
use rewards::{corpus_bleu, rouge_l, sentence_bleu};

/// A text metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Metric {
    /// sacreBLEU of the corpus, and the mean over sentences
    Bleu,
    /// F1 of the longest common subsequence (rouge-score without stemmer), mean
    RougeL,
}

/// The values of the requested metrics.
#[derive(Default)]
pub(crate) struct Compared {
    pub corpus_bleu: Option<f64>,
    /// One value per prompt.
    pub bleu: Option<Vec<f64>>,
    pub rouge_l: Option<Vec<f64>>,
}

pub(crate) fn compare_with_references(
    metrics: &[Metric],
    prompts: &[Prompt],
    texts: &[String],
) -> Compared {
    // The plan checked that every prompt has a reference if metrics are requested.
    let pairs: Vec<(&str, [&str; 1])> = prompts
        .iter()
        .zip(texts)
        .filter_map(|(prompt, text)| Some((text.as_str(), [prompt.reference.as_deref()?])))
        .collect();
    let mut compared = Compared::default();
    for metric in metrics {
        match metric {
            Metric::Bleu => {
                let corpus: Vec<(&str, &[&str])> =
                    pairs.iter().map(|(t, r)| (*t, &r[..])).collect();
                let sentences = pairs.iter().map(|(text, r)| sentence_bleu(text, r, true));
                compared.corpus_bleu = Some(corpus_bleu(&corpus));
                compared.bleu = Some(sentences.collect());
            }
            Metric::RougeL => {
                let scores = pairs.iter().map(|(t, r)| 100.0 * rouge_l(r[0], t, false));
                compared.rouge_l = Some(scores.collect());
            }
        }
    }
    compared
}

/// Fails if metrics are requested and a prompt has no reference answer, or an empty one.
pub(crate) fn check(metrics: &[Metric], prompts: &[Prompt], from: &str) -> Result<()> {
    let n_without = prompts.iter().filter(|p| !p.has_reference()).count();
    ensure!(
        metrics.is_empty() || n_without == 0,
        "--metrics needs reference answers, and {n_without} of the {} prompts of {from} have \
         none or an empty one; give --prompts FILE with answers",
        prompts.len()
    );
    Ok(())
}
