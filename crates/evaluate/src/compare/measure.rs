//! One run's answers to the prompts, with everything that is measured on them: reward, oracle, metrics, length, KL.

use super::metrics::{Compared, Metric, compare_with_references};
use crate::draw::{Ask, Bar, draw};
use crate::policies::{Drawn, Reward};
use anyhow::{Result, ensure};
use data::Prompt;
use generation::{Finish, Sample, Sampling};
use policy::{Batch, Policy};
use std::rc::Rc;

/// Tokens of one forward.
const BATCH_TOKENS: usize = 4096;

/// Columns over the prompts, in their order.
pub(crate) struct Measured {
    pub texts: Vec<String>,
    /// Tokens drawn, EOS included.
    pub lengths: Vec<f64>,
    /// 1 where the answer ended by itself.
    pub ended: Vec<f64>,
    pub reward: Option<Vec<f64>>,
    pub reward_normalised: Option<Vec<f64>>,
    /// Where the oracle knows the question.
    pub oracle: Vec<Option<f64>>,
    pub compared: Compared,
    pub kl: Option<Kl>,
}

/// KL(policy ‖ reference) of whole answers, nats, one per prompt.
pub(crate) struct Kl {
    /// Σ over tokens of log π − log π_ref at the drawn tokens: unbiased, may be negative.
    pub k1: Vec<f64>,
    /// Σ over tokens of the exact divergence over the vocabulary.
    pub exact: Vec<f64>,
}

/// How answers are drawn, the same for every run.
#[derive(Clone, Copy)]
pub(crate) struct Drawing {
    pub sampling: Sampling,
    pub seed: u64,
    pub max_rows: usize,
}

pub(crate) fn measure(
    policy: &Policy,
    name: &str,
    reference: Option<&Policy>,
    reward: Option<&Reward>,
    prompts: &[Prompt],
    with_oracle: bool,
    metrics: &[Metric],
    drawing: Drawing,
) -> Result<Measured> {
    let ids: Vec<Vec<u32>> = prompts
        .iter()
        .map(|p| policy.encoder.prompt(p))
        .collect::<data::Result<_>>()?;
    let asks = ids.iter().enumerate().map(|(i, prompt)| Ask {
        prompt: prompt.clone(),
        sampling: drawing.sampling,
        stream: [drawing.seed, 0, i as u64],
    });
    let mut bar = Bar::new(name, prompts.len());
    let samples = draw(policy, asks.collect(), drawing.max_rows, &mut bar)?;
    let tokens = bar.tokens();
    bar.finish(&format!("{tokens} tokens"));
    let texts: Vec<String> = samples
        .iter()
        .map(|s| Ok(policy.encoder.decode(&s.ids)?.trim().to_string()))
        .collect::<Result<_>>()?;
    let ended = |s: &Sample| s.finish == Finish::Stop;
    let raw = reward
        .map(|reward| {
            let rows = (0..prompts.len()).map(|i| {
                let drawn = Drawn {
                    prompt: &ids[i],
                    response: &samples[i].ids,
                    text: &texts[i],
                    finished: ended(&samples[i]),
                };
                reward.row(policy, &prompts[i], drawn)
            });
            let rows: Vec<Vec<u32>> = rows.collect::<Result<_>>()?;
            let rows: Vec<_> = rows.iter().map(|ids| (ids.as_slice(), 0)).collect();
            Ok::<_, anyhow::Error>(reward.model.score(&reward.base.model, &rows)?)
        })
        .transpose()?;
    let wide = |column: Vec<f32>| column.into_iter().map(f64::from).collect::<Vec<_>>();
    let normalised = raw
        .as_ref()
        .zip(reward)
        .map(|(raw, reward)| wide(raw.iter().map(|r| reward.model.normalised(*r)).collect()));
    let oracle = texts
        .iter()
        .zip(prompts)
        .map(|(text, prompt)| with_oracle.then(|| oracle(prompt, text)).flatten());
    Ok(Measured {
        oracle: oracle.collect(),
        compared: compare_with_references(metrics, prompts, &texts),
        lengths: samples.iter().map(|s| s.ids.len() as f64).collect(),
        ended: samples
            .iter()
            .map(|s| f64::from(u8::from(ended(s))))
            .collect(),
        reward: raw.map(wide),
        reward_normalised: normalised,
        kl: reference
            .map(|reference| kl(policy, reference, &ids, &samples, drawing.sampling))
            .transpose()?,
        texts,
    })
}

/// The tiny world's grade, 1 to 10; None when the question is not of its language.
pub(crate) fn oracle(prompt: &Prompt, answer: &str) -> Option<f64> {
    let grade = match &prompt.ask {
        data::Ask::Instruction { instruction, input } => {
            tiny_world::grade(instruction, input, answer)
        }
        data::Ask::Chat(messages) => match &messages[..] {
            [one] => tiny_world::grade(&one.content, "", answer),
            _ => None,
        },
        data::Ask::Raw(text) => tiny_world::grade(text, "", answer),
    };
    Some(grade?.score)
}

/// Both policies read the same tokens, at the temperature the answers were drawn at (greedy: 1).
fn kl(
    policy: &Policy,
    reference: &Policy,
    prompts: &[Vec<u32>],
    samples: &[Sample],
    sampling: Sampling,
) -> Result<Kl> {
    ensure!(
        Rc::ptr_eq(&policy.base, &reference.base),
        "{} and its reference {} stand on different bases",
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
