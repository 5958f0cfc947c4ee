//! What the models say of rows without a graph: the columns of the experience that teacher-forced forwards give.

use crate::roles::Roles;
use crate::row::Row;
use algorithms::Experience;
use candle_core::{Result, Tensor};
use models::{CausalLm, Lora};
use policy::Batch;

/// Which columns to read.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    /// `logp_old` and `entropy`, of the policy or the copy of it that the method looks at
    pub old: bool,
    /// `logp_ref`
    pub reference: bool,
    /// `kl_exact`, where both are read
    pub exact_kl: bool,
    /// Tokens of one forward
    pub max_tokens: usize,
}

/// Reads the columns asked for, and the critic's values where there is a critic. `temperature`: one per row.
pub(crate) fn columns(
    roles: &Roles,
    rows: &[Row],
    exp: &mut Experience,
    temperature: &[f32],
    which: Columns,
) -> Result<()> {
    let policy: Lora = match &roles.old {
        Some(copy) => copy.clone(),
        None => roles.policy.frozen(),
    };
    let critic = roles.critic.as_ref().map(|critic| critic.frozen());
    let (model, head) = (roles.model(), roles.model().head());
    let units: Vec<_> = rows.iter().map(|row| vec![row.sequence()]).collect();
    if which.old {
        exp.logp_old.clear();
        exp.entropy.clear();
    }
    for range in models::micro_batches(&units, which.max_tokens) {
        let batch = Batch::new(rows[range.clone()].iter().map(Row::sequence));
        let temperature = policy::per_label(&batch.labels.layout, &temperature[range.clone()]);
        let targets = &batch.labels.targets;
        let before = |lora| batch.before_labels(&batch.hidden(model, lora, None)?);
        let old = match sampled_states(&rows[range], model)?.filter(|_| roles.old.is_none()) {
            Some(states) if which.old => Some(states),
            _ => which.old.then(|| before(Some(&policy))).transpose()?,
        };
        let reference = which
            .reference
            .then(|| before(roles.reference.as_ref()))
            .transpose()?;
        let (of_old, of_reference) = match (&old, &reference) {
            (Some(old), Some(reference)) if which.exact_kl => {
                let scores = ops::compared_scores(old, reference, head, targets, &temperature)?;
                exp.kl_exact.extend(scores.kl.to_vec1::<f32>()?);
                (Some(scores.p), Some(scores.q))
            }
            _ => {
                let of = |hidden: &Option<Tensor>| {
                    let score = |hidden| ops::token_scores(hidden, head, targets, &temperature);
                    hidden.as_ref().map(score).transpose()
                };
                (of(&old)?, of(&reference)?)
            }
        };
        if let Some(scores) = of_old {
            exp.logp_old.extend(scores.logp.to_vec1::<f32>()?);
            exp.entropy.extend(scores.entropy.to_vec1::<f32>()?);
        }
        if let Some(scores) = of_reference {
            exp.logp_ref.extend(scores.logp.to_vec1::<f32>()?);
        }
        if let Some(critic) = &critic {
            let values = critic.values(model, &batch)?;
            exp.values.extend(values.to_vec1::<f32>()?);
        }
    }
    Ok(())
}

/// The states [M, d] before the labels of freshly drawn rows, as the sampler had them: the policy's forward over them is done.
/// None unless every row kept them.
fn sampled_states(rows: &[Row], model: &CausalLm) -> Result<Option<Tensor>> {
    let width = model.config.hidden_size;
    let mut states = Vec::new();
    for row in rows {
        match &row.sampler {
            Some(sampler) if sampler.states.len() == row.response().len() * width => {
                states.extend_from_slice(&sampler.states);
            }
            _ => return Ok(None),
        }
    }
    let shape = (states.len() / width, width);
    Tensor::from_vec(states, shape, model.device()).map(Some)
}
