//! Step 3, *read*: what the models say about a step's rows without a graph. Teacher-forced forwards
//! of the policy, the reference and the critic give the experience its columns `logp_old`,
//! `entropy`, `logp_ref`, `kl_exact` and `values`.

use crate::learner::Learner;
use crate::logp_source::LogpSource;
use crate::row::Row;
use algorithms::{DataSource, Experience};
use candle_core::{Result, Tensor};
use models::{CausalLm, Lora};
use policy::Batch;

/// Reads the columns that the method needs, then drops the rows' hidden states, which would take
/// memory beside the graph. `temperature`: the one that each row is scored at.
pub(crate) fn columns(
    learner: &Learner,
    rows: &mut [Row],
    exp: &mut Experience,
    temperature: &[f32],
) -> Result<()> {
    let (needs, source) = (&learner.needs, learner.logp_source);
    if source.is_read() || needs.reference || learner.roles.critic.is_some() {
        if source.is_read() {
            exp.logp_old.clear();
            exp.entropy.clear();
        }
        let units: Vec<_> = rows.iter().map(|row| vec![row.sequence()]).collect();
        for range in models::micro_batches(&units, learner.config.train.micro_batch_tokens) {
            micro_batch(learner, &rows[range.clone()], exp, &temperature[range])?;
        }
    }
    rows.iter_mut().for_each(Row::forget_states);
    Ok(())
}

/// Appends the columns of some rows.
fn micro_batch(
    learner: &Learner,
    rows: &[Row],
    exp: &mut Experience,
    temperature: &[f32],
) -> Result<()> {
    let (needs, roles, source) = (&learner.needs, &learner.roles, learner.logp_source);
    let model = roles.model();
    let (compute, head) = (model.compute(), model.head());
    let batch = Batch::new(rows.iter().map(Row::sequence));
    let temperature = policy::per_label(&batch.labels.layout, temperature);
    let targets = &batch.labels.targets;
    // [M, d]
    let before = |lora: Option<&Lora>| batch.before_labels(&batch.hidden(model, lora, None)?);

    let kept = match source {
        LogpSource::SamplerStates => sampler_states(rows, model)?,
        _ => None,
    };
    let old = match (source, kept) {
        (LogpSource::Absent | LogpSource::SamplerLog, _) => None,
        (_, Some(states)) => Some(states),
        (LogpSource::CopyForward, None) => Some(before(roles.old.as_ref())?),
        (LogpSource::SamplerStates | LogpSource::PolicyForward, None) => {
            Some(before(Some(&roles.policy.frozen()))?)
        }
    };
    let reference = match needs.reference {
        true => Some(before(roles.reference.as_ref())?),
        false => None,
    };
    let (of_old, of_reference) = match (&old, &reference) {
        // Policy, reference and their exact KL share one sweep over the vocabulary.
        (Some(old), Some(reference)) if needs.source == DataSource::Rollouts => {
            let scores = compute.compared_scores(old, reference, head, targets, &temperature)?;
            exp.kl_exact.extend(scores.kl.to_vec1::<f32>()?);
            (Some(scores.p), Some(scores.q))
        }
        _ => {
            let score = |hidden| compute.token_scores(hidden, head, targets, &temperature);
            (
                old.as_ref().map(score).transpose()?,
                reference.as_ref().map(score).transpose()?,
            )
        }
    };
    if let Some(scores) = of_old {
        exp.logp_old.extend(scores.logp.to_vec1::<f32>()?);
        exp.entropy.extend(scores.entropy.to_vec1::<f32>()?);
    }
    if let Some(scores) = of_reference {
        exp.logp_ref.extend(scores.logp.to_vec1::<f32>()?);
    }
    if let Some(critic) = &roles.critic {
        let values = critic.frozen().values(model, &batch)?;
        exp.values.extend(values.to_vec1::<f32>()?);
    }
    Ok(())
}

/// The hidden states `[M, d]` that the tokens of these rows were drawn from. None unless every row
/// kept its own.
fn sampler_states(rows: &[Row], model: &CausalLm) -> Result<Option<Tensor>> {
    let width = model.config.hidden_size;
    let mut states = Vec::new();
    for row in rows {
        match &row.sampler {
            Some(record) if record.states.len() == row.response().len() * width => {
                states.extend_from_slice(&record.states);
            }
            _ => return Ok(None),
        }
    }
    let shape = (states.len() / width, width);
    Tensor::from_vec(states, shape, model.device()).map(Some)
}
