//! Step 2, *score*: the rewards of responses, and their text metric against the reference answer
//! where the method asks.

use crate::roles::Roles;
use crate::row::Row;
use crate::step_rows::StepRows;
use algorithms::Metrics;
use algorithms::{Requirements, TextMetric};
use anyhow::Result;
use rewards::{Item, Readings, Scored};

/// Scores a step's rollouts into `exp.score` (and `exp.text_metric`), and logs each source's mean
/// as `reward/<source>`.
pub(crate) fn rollouts(
    roles: &mut Roles,
    needs: &Requirements,
    step_rows: &mut StepRows,
) -> Result<()> {
    let StepRows {
        rows, exp, metrics, ..
    } = step_rows;
    let scored = rewards(roles, rows)?;
    metrics.extend(means(&scored));
    exp.score = scored.total;
    if let Some(kind) = needs.text_metric {
        exp.text_metric = text_metric(roles, kind, rows)?;
    }
    Ok(())
}

/// The rewards of rows scored as one batch: weighted sums over the sources. Adds the
/// scores to the running statistics.
pub(crate) fn rewards(roles: &mut Roles, rows: &[Row]) -> Result<Scored> {
    let readings = readings(roles, rows)?;
    Ok(roles.rewards.sum(&readings))
}

/// The raw score of each row by each source.
pub(crate) fn readings(roles: &mut Roles, rows: &[Row]) -> Result<Readings> {
    let text = |row: &Row| {
        let context = roles.model().config.max_position_embeddings;
        let ended = roles
            .encoder
            .ended_as_trained(&row.ids, row.prompt_len, context);
        Ok((
            row.task.prompt.ask.text(),
            roles.encoder.decode(row.response())?,
            ended,
        ))
    };
    let texts = rows.iter().map(text).collect::<Result<Vec<_>>>()?;
    let items: Vec<Item> = rows.iter().zip(&texts).map(item).collect();
    Ok(roles.rewards.read(&roles.base.model, &items)?)
}

fn item<'a>((row, (prompt, response, ids)): (&'a Row, &'a (String, String, Vec<u32>))) -> Item<'a> {
    Item {
        prompt,
        response,
        reference: row.task.prompt.reference.as_deref(),
        ids,
        prompt_len: row.prompt_len,
        n_response_tokens: row.response().len(),
    }
}

/// `reward/<source>`, the metrics of scored rows.
pub(crate) fn means(scored: &Scored) -> Metrics {
    let named = |(name, mean): (&String, &f64)| (format!("reward/{name}"), *mean);
    scored.means.iter().map(named).collect()
}

/// A text metric of each response against its prompt's reference answer, 0..1.
pub(crate) fn text_metric(roles: &Roles, metric: TextMetric, rows: &[Row]) -> Result<Vec<f32>> {
    rows.iter()
        .map(|row| {
            let reference = row.task.prompt.reference.as_deref().unwrap_or_default();
            let text = roles.encoder.decode(row.response())?;
            Ok(match metric {
                TextMetric::Bleu => rewards::sentence_bleu(&text, &[reference], true) / 100.0,
                TextMetric::RougeL => rewards::rouge_l(reference, &text, false),
            } as f32)
        })
        .collect()
}
