//! One run's answers to the prompts, with their measurements: reward, oracle, metrics, length, KL.

use super::metrics::{Compared, Metric, compare_with_references};
use crate::draw::{SampleProgress, draw};
use crate::oracle;
use crate::policies::{Drawn, Reward};
use anyhow::{Result, ensure};
use data::Prompt;
use generation::{Finish, Request, Sample, Sampling};
use policy::{Batch, Policy};
use std::rc::Rc;

/// Tokens of one forward pass.
const BATCH_TOKENS: usize = 4096;

/// The measurements of one run: columns with a value per prompt.
pub(crate) struct Measured {
    pub texts: Vec<String>,
    /// Sampled tokens, EOS included.
    pub lengths: Vec<f64>,
    /// 1 if the answer ended with EOS, else 0.
    pub ended: Vec<f64>,
    pub reward: Option<Vec<f64>>,
    pub reward_normalised: Option<Vec<f64>>,
    /// `None` if the oracle does not know the question.
    pub oracle: Vec<Option<f64>>,
    pub compared: Compared,
    pub kl: Option<Kl>,
}

/// KL(policy ‖ reference) of whole answers in nats, one value per prompt.
pub(crate) struct Kl {
    /// Σ over tokens of log π − log π_ref at the sampled tokens: unbiased, may be negative.
    pub k1: Vec<f64>,
    /// Σ over tokens of the exact divergence over the vocabulary.
    pub exact: Vec<f64>,
}

/// How answers are sampled, the same for every run.
#[derive(Clone, Copy)]
pub(crate) struct Drawing {
    pub sampling: Sampling,
    pub seed: u64,
    pub max_rows: usize,
}

/// How every run is measured.
pub(crate) struct Measurement<'a> {
    pub prompts: &'a [Prompt],
    pub reward: Option<&'a Reward>,
    pub with_oracle: bool,
    pub metrics: &'a [Metric],
    pub drawing: Drawing,
}

impl Measurement<'_> {
    /// Samples the policy's answers and measures them. `name` labels the progress bar.
    pub fn of(&self, policy: &Policy, name: &str, reference: Option<&Policy>) -> Result<Measured> {
        let prompts = self.prompts;
        let ids: Vec<Vec<u32>> = prompts
            .iter()
            .map(|p| policy.encoder.prompt(p))
            .collect::<data::Result<_>>()?;
        let samples = self.draw(policy, name, &ids)?;
        let texts: Vec<String> = samples
            .iter()
            .map(|s| Ok(policy.encoder.decode(&s.ids)?.trim().to_string()))
            .collect::<Result<_>>()?;
        let raw = self.rewards(policy, &ids, &samples, &texts)?;
        let wide = |column: Vec<f32>| column.into_iter().map(f64::from).collect::<Vec<_>>();
        let normalised = raw
            .as_ref()
            .zip(self.reward)
            .map(|(raw, reward)| wide(raw.iter().map(|r| reward.model.normalised(*r)).collect()));
        let graded = texts.iter().zip(prompts).map(|(text, prompt)| {
            self.with_oracle
                .then(|| oracle::grade(&prompt.ask, text))
                .flatten()
        });
        let ended = samples.iter().map(|s| f64::from(u8::from(has_ended(s))));
        Ok(Measured {
            oracle: graded.collect(),
            compared: compare_with_references(self.metrics, prompts, &texts),
            lengths: samples.iter().map(|s| s.ids.len() as f64).collect(),
            ended: ended.collect(),
            reward: raw.map(wide),
            reward_normalised: normalised,
            kl: reference
                .map(|reference| kl(policy, reference, &ids, &samples, self.drawing.sampling))
                .transpose()?,
            texts,
        })
    }

    fn draw(&self, policy: &Policy, name: &str, prompts: &[Vec<u32>]) -> Result<Vec<Sample>> {
        let requests: Vec<Request> = prompts
            .iter()
            .enumerate()
            .map(|(i, prompt)| Request {
                prompt: prompt.clone(),
                n: 1,
                sampling: self.drawing.sampling,
                stream: [self.drawing.seed, 0, i as u64],
            })
            .collect();
        let mut bar = SampleProgress::new(name, requests.len());
        let samples = draw(policy, &requests, self.drawing.max_rows, &mut bar)?;
        let tokens = bar.tokens();
        bar.finish(&format!("{tokens} tokens"));
        Ok(samples)
    }

    /// The raw scores of the reward model, if there is one.
    fn rewards(
        &self,
        policy: &Policy,
        ids: &[Vec<u32>],
        samples: &[Sample],
        texts: &[String],
    ) -> Result<Option<Vec<f32>>> {
        let Some(reward) = self.reward else {
            return Ok(None);
        };
        let rows = (0..samples.len()).map(|i| {
            let drawn = Drawn {
                prompt: &ids[i],
                response: &samples[i].ids,
                text: &texts[i],
                finished: has_ended(&samples[i]),
            };
            reward.row(policy, &self.prompts[i], drawn)
        });
        let rows: Vec<Vec<u32>> = rows.collect::<Result<_>>()?;
        let rows: Vec<_> = rows.iter().map(|ids| (ids.as_slice(), 0)).collect();
        Ok(Some(reward.model.score(&reward.base.model, &rows)?))
    }
}

fn has_ended(sample: &Sample) -> bool {
    sample.finish == Finish::Stop
}

/// Both policies score the same tokens, at the temperature of the sampling (1 for greedy).
fn kl(
    policy: &Policy,
    reference: &Policy,
    prompts: &[Vec<u32>],
    samples: &[Sample],
    sampling: Sampling,
) -> Result<Kl> {
    ensure!(
        Rc::ptr_eq(&policy.base, &reference.base),
        "{} and its reference {} have different bases",
        policy.name,
        reference.name
    );
    let rows: Vec<Vec<u32>> = prompts
        .iter()
        .zip(samples)
        .map(|(prompt, sample)| [prompt.as_slice(), &sample.ids].concat())
        .collect();
    let lens: Vec<usize> = rows.iter().map(Vec::len).collect();
    let temperature = if sampling.temperature > 0.0 {
        sampling.temperature
    } else {
        1.0
    };
    let (model, head) = (policy.model(), policy.model().head());
    let mut kl = Kl {
        k1: Vec::new(),
        exact: Vec::new(),
    };
    for range in ops::micro_batches(&lens, BATCH_TOKENS) {
        let batch = Batch::new(range.map(|i| (rows[i].as_slice(), prompts[i].len())));
        let tempered = vec![temperature; batch.labels.targets.len()];
        let before =
            |p: &Policy| batch.before_labels(&batch.hidden(model, p.adapter.as_ref(), None)?);
        let (mine, theirs) = (before(policy)?, before(reference)?);
        let scores = ops::compared_scores(&mine, &theirs, head, &batch.labels.targets, &tempered)?;
        let mine_logp = scores.p.logp.to_vec1::<f32>()?;
        let theirs_logp = scores.q.logp.to_vec1::<f32>()?;
        let exact = scores.kl.to_vec1::<f32>()?;
        for labels in batch.labels.layout.ranges() {
            let sum =
                |f: &dyn Fn(usize) -> f32| labels.clone().map(|i| f64::from(f(i))).sum::<f64>();
            kl.k1.push(sum(&|i| mine_logp[i] - theirs_logp[i]));
            kl.exact.push(sum(&|i| exact[i]));
        }
    }
    Ok(kl)
}
