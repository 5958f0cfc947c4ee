//! Records in a run what its results depend on, by content. A resumed run must find the same.

use crate::base::Base;
use crate::base_place::same_tokens;
use anyhow::{Context, Result, anyhow, bail, ensure};
use data::{DataFiles, Template};
use run::{FileHashes, Run};
use serde_json::{Map, Value};
use std::path::Path;

/// The file of a run directory with the keys of the prompts that it was trained on
/// ([`data::Prompt::key`]): 8 bytes each, little-endian, ascending.
const TRAINED: &str = "trained_prompts.bin";

/// The keys of the prompts that the run in `dir` was trained on; None: an older version recorded
/// none.
///
/// # Errors
/// If the file cannot be read.
pub fn trained_prompts(dir: &Path) -> Result<Option<Vec<u64>>> {
    let file = dir.join(TRAINED);
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let (keys, _) = bytes.as_chunks::<8>();
    Ok(Some(
        keys.iter().map(|key| u64::from_le_bytes(*key)).collect(),
    ))
}

/// Records the training rows' file under `data`: `path`, `sha256` of the bytes that were read, and
/// the `counts` of its rows; and the keys of its prompts ([`trained_prompts`]).
///
/// # Errors
/// If the file has changed since the run started: checkpoints store the position in it as a row
/// number.
pub fn record_data(run: &mut Run, files: &DataFiles, mut counts: Value) -> Result<()> {
    let file = &files.train;
    let path = file.path.to_string_lossy();
    let before = run.recorded("data").map(|data| &data["sha256"]);
    check_unchanged(run, before, &file.sha256, &path)?;
    counts["path"] = path.into();
    counts["sha256"] = file.sha256.clone().into();
    if let [_, _, ..] = file.files[..] {
        let files = file.files.iter();
        let files =
            files.map(|(path, hash)| (path.to_string_lossy().into_owned(), hash.as_str().into()));
        counts["files"] = files.collect::<Map<String, Value>>().into();
    }
    run.record("data", counts)?;
    let keys: Vec<u8> = files
        .prompts
        .iter()
        .flat_map(|key| key.to_le_bytes())
        .collect();
    run.write_file(TRAINED, &keys)
}

/// Records the SHA-256 of every other file that the results depend on, under `inputs`: of the
/// held-out rows' file as it was read, and of `others`, which were read before.
///
/// # Errors
/// If one of them has changed since the run started.
pub fn record_inputs(run: &mut Run, files: &DataFiles, others: &[&FileHashes]) -> Result<()> {
    let before = run.recorded("inputs").cloned().unwrap_or_default();
    let mut now = Map::new();
    let mut record = |file: &Path, hash: String| -> Result<()> {
        let name = file.to_string_lossy();
        check_unchanged(run, before.get(&*name), &hash, &name)?;
        now.insert(name.into_owned(), hash.into());
        Ok(())
    };
    if let Some(eval) = &files.eval {
        record(&eval.path, eval.sha256.clone())?;
    }
    for (file, hash) in others.iter().flat_map(|files| files.iter()) {
        record(file, hash.to_string())?;
    }
    run.record("inputs", now.into())
}

/// Fails if an adapter in one of these directories has changed since the run started, as
/// [`record_inputs`] does once everything is read.
pub fn check_adapters<'a>(run: &Run, dirs: impl Iterator<Item = &'a Path>) -> Result<()> {
    let before = run.recorded("inputs").cloned().unwrap_or_default();
    for dir in dirs {
        for (file, hash) in FileHashes::of_dir(dir)?.iter() {
            let name = file.to_string_lossy();
            check_unchanged(run, before.get(&*name), hash, &name)?;
        }
    }
    Ok(())
}

/// Records the base and what computes on it, and writes template, tokenizer and special tokens into
/// the run directory.
///
/// # Errors
/// If the base has changed since the run started.
pub fn write_identity(run: &mut Run, base: &Base, template: &Template) -> Result<()> {
    let fingerprint = base.model.fingerprint()?;
    let before = run.recorded("base_fingerprint");
    let place = run.recorded("base").and_then(Value::as_str);
    if let Some(place) = place.filter(|place| *place != base.source) {
        let place = place.to_string();
        ensure!(
            before.is_none_or(|before| *before == fingerprint),
            "{} is not the base that {} began with ({place}): its numbers differ; resume with the \
             original, or start a new run",
            base.source,
            run.dir().display()
        );
        same_tokens(run.dir(), &base.source, &base.tokenizer, &base.special)?;
        // where the base lay at the start, which the settings name
        if run.recorded("first_base").is_none() {
            run.record("first_base", place.into())?;
        }
    } else {
        check_unchanged(run, before, &fingerprint, &base.source)?;
    }
    run.record("base_fingerprint", fingerprint.into())?;
    if let Some(date) = template.date() {
        run.record("template_date", date.into())?;
    }
    let template = serde_json::to_string_pretty(template)?;
    run.write_file("template.json", template.as_bytes())?;
    let tokenizer = base.tokenizer.to_string(false);
    let tokenizer = tokenizer.map_err(|e| anyhow!("tokenizer: {e}"))?;
    run.write_file("tokenizer.json", tokenizer.as_bytes())?;
    let special = serde_json::to_string_pretty(&base.special)?;
    run.write_file("special.json", special.as_bytes())?;
    run.record("base", base.source.clone().into())?;
    run.record("base_weights", base.weights.name().into())?;
    run.record_used(Map::from_iter([
        ("threads".to_string(), ops::n_threads().into()),
        ("simd".to_string(), ops::Level::current().name().into()),
    ]))
}

fn check_unchanged(run: &Run, before: Option<&Value>, now: &str, name: &str) -> Result<()> {
    let before = before.and_then(Value::as_str);
    if before.is_some_and(|before| before != now) {
        bail!(
            "{name} has changed since {} started; resume with the original, or start a new run",
            run.dir().display()
        );
    }
    Ok(())
}
