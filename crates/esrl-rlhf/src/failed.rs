//! Saves the batch of a step that failed in the run directory (`failed/step-000012.json`), for
//! inspection. A number that is not finite is `null` there.

use crate::row::Row;
use algorithms::Experience;
use anyhow::{Error, anyhow};
use run::Run;
use serde_json::{Map, Value, json};

/// Saves the batch of `step`, which failed because of `why`. Returns `why` with the name of the
/// file.
pub(crate) fn save_and_explain(
    run: &Run,
    step: u64,
    rows: &[Row],
    exp: &Experience,
    why: &Error,
) -> Error {
    let why = run::one_line(why);
    let kept = json!({ "step": step, "why": why, "rows": of_rows(rows, exp) });
    match run.failed(step, &kept) {
        Ok(file) => anyhow!("{why}; its batch is in {}", file.display()),
        Err(e) => anyhow!("{why}; its batch could not be saved: {}", run::one_line(&e)),
    }
}

fn of_rows(rows: &[Row], exp: &Experience) -> Vec<Value> {
    let layout = exp.layout();
    let of_row = |(i, row): (usize, &Row)| {
        let mut kept = Map::new();
        kept.insert("prompt_key".into(), row.task.key.into());
        kept.insert("ids".into(), json!(row.ids));
        kept.insert("prompt_len".into(), row.prompt_len.into());
        kept.insert("finished".into(), row.finished.into());
        for (name, column) in [
            ("reward", &exp.score),
            ("temperature", &exp.temperature),
            ("weight", &exp.weight),
        ] {
            if let Some(value) = column.get(i) {
                kept.insert(name.into(), json!(value));
            }
        }
        for (name, column) in [
            ("logp_sampled", &exp.logp_sampled),
            ("importance", &exp.importance),
            ("logp_old", &exp.logp_old),
            ("logp_ref", &exp.logp_ref),
            ("entropy", &exp.entropy),
            ("values", &exp.values),
            ("advantages", &exp.advantages),
            ("returns", &exp.returns),
        ] {
            if let Some(tokens) = column.get(layout.range(i)).filter(|t| !t.is_empty()) {
                kept.insert(name.into(), json!(tokens));
            }
        }
        Value::Object(kept)
    };
    rows.iter().enumerate().map(of_row).collect()
}
