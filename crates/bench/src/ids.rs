//! Both sides must train on the same token ids.

use crate::peer;
use crate::setup::Setup;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Answer {
    ids: Vec<Vec<u32>>,
}

/// Tokenises every text of the rows of `rounds` with our tokenizer and with the peers', and returns
/// how many ids there are.
///
/// Errors: a text whose ids differ.
pub(crate) fn check(setup: &Setup, rounds: usize) -> Result<usize> {
    let tokenizer = models::read_hf_directory(&setup.model())?.tokenizer;
    let mut n_ids = 0;
    for round in 1..=rounds {
        for stage in ["sft", "rm", "rl"] {
            let file = setup.rows().join(format!("{stage}-{round}.jsonl"));
            let theirs: Answer =
                peer::answer(peer::command(setup, "ids.py", 0, json!({"rows": file}))?)?;
            let text =
                std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let rows: Vec<Map<String, Value>> = text
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()?;
            let texts: Vec<&str> = rows
                .iter()
                .flat_map(Map::values)
                .filter_map(Value::as_str)
                .collect();
            ensure!(
                texts.len() == theirs.ids.len(),
                "{}: ids.py read other rows",
                file.display()
            );
            for (text, theirs) in texts.iter().zip(&theirs.ids) {
                let ours = tokenizer.encode(*text, false).map_err(anyhow::Error::msg)?;
                ensure!(
                    ours.get_ids() == theirs,
                    "{}: our tokenizer makes {} ids of {text:?}, and the peers' {}",
                    file.display(),
                    ours.len(),
                    theirs.len()
                );
                n_ids += theirs.len();
            }
        }
    }
    Ok(n_ids)
}
