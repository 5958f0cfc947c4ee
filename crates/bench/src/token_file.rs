//! The rows that one of our stages tokenised into its cache, and trains from:
//! `data/HASH/train.tokens`, as crates/data/src/store.rs describes it.

use crate::trained::Sequence;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The rows of the only data in the cache, each of `per_row` sequences.
///
/// Errors: the cache has no data, or that of several settings.
pub fn read_tokens(cache: &Path, per_row: usize) -> Result<Vec<Vec<Sequence>>> {
    let data = cache.join("data");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&data).with_context(|| data.display().to_string())? {
        let file = entry?.path().join("train.tokens");
        if file.exists() {
            found.push(file);
        }
    }
    ensure!(
        found.len() == 1,
        "{}: rows were tokenised {} times, with different ids or settings; once is right",
        data.display(),
        found.len()
    );
    let bytes = std::fs::read(&found[0])?;
    let sequences = sequences(&bytes).with_context(|| found[0].display().to_string())?;
    let rows = sequences.chunks(per_row).map(<[Sequence]>::to_vec);
    Ok(rows.collect())
}

fn sequences(bytes: &[u8]) -> Result<Vec<Sequence>> {
    let (words, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "ends within a number");
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word) as usize);
    let mut sequences = Vec::new();
    while let Some(n_ids) = words.next() {
        let mut next = || words.next().context("ends within a sequence");
        let (prompt_len, n_context, _, _) = (next()?, next()?, next()?, next()?);
        let (mut learnt, mut from) = (Vec::new(), prompt_len);
        for _ in 0..n_context {
            let (start, end) = (next()?, next()?);
            learnt.push(from..start);
            from = end;
        }
        learnt.push(from..n_ids);
        let ids = (0..n_ids).map(|_| Ok(next()? as u32));
        sequences.push(Sequence::new(ids.collect::<Result<_>>()?, &learnt));
    }
    Ok(sequences)
}
