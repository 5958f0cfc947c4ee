//! The loss of methods that imitate stored responses and differ only in the weight of each token.

use crate::columns::column;
use crate::loss::{Loss, Scores, Totals, imitation_metrics};
use candle_core::Result;

/// `−Σ_t w_t log π(y_t)`, divided by the tokens of the optimiser step. `token_weights` `[M]`.
pub(crate) fn weighted_nll(now: &Scores, token_weights: &[f32], totals: Totals) -> Result<Loss> {
    if token_weights.is_empty() {
        return Loss::zero(&now.logp);
    }
    let weights = column(token_weights, &now.logp)?;
    let loss = ((&now.logp * weights)?.sum_all()?.neg()? / totals.tokens as f64)?;
    let metrics = imitation_metrics(&loss, now, totals)?;
    Ok(Loss { loss, metrics })
}
