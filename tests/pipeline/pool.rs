//! Stored responses: the head of V_ref, how rows are drawn and scored, and the copies of the policy
//! that GOLD reads.

use super::bad_input::refused;
use super::same::check_resume;
use super::world::{World, tiny};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use testkit::{assert_close_slices, values};

/// The stored rows: prompt, score and V_ref.
fn stored(world: &World, run: &str) -> Vec<(u64, f64, f64)> {
    let text = fs::read_to_string(world.path(run).join("pool-000000.jsonl")).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        (
            row["prompt_key"].as_u64().unwrap(),
            number("score"),
            number("prompt_value"),
        )
    };
    text.lines().skip(1).map(row).collect()
}

fn demonstrations(sets: &str) -> String {
    format!(
        "data.path={} train.critic_warmup_steps=0 {sets}",
        tiny("demonstrations.json")
    )
}

#[test]
fn v_ref_learns_a_constant() {
    let world = World::with_reward();
    let sets = "algorithm.name=a_lol algorithm.value_epochs=40 algorithm.value_lr=0.05 \
                rewards=[{kind=\"format\",must_match=\"^\",weight=0.8}]";
    // every response is as good as expected, or a little better
    let result = world.rl_by("run", &demonstrations(sets));
    let rows = stored(&world, "run");
    assert!(rows.len() > 20, "{}", rows.len());
    for (_, score, value) in &rows {
        assert_close_slices("R, in 0..1 as it is", &[*score], &[0.8], 1e-6);
        assert_close_slices("V_ref", &[*value], &[0.8], 0.02);
    }
    match result {
        Ok(()) => assert!(rows.iter().any(|row| row.1 > row.2)),
        Err(why) => assert!(why.to_string().contains("no stored response"), "{why}"),
    }
}

/// Scores a prompt that begins with W 2, others -2, whatever the response.
fn by_prompt(world: &World) -> String {
    let script = r#"while read -r line; do
  printf '%s\n' "$line" | awk '{ id = $0; sub(/^{"id":/, "", id); sub(/,.*/, "", id); n = split($0, part, "\"prompt\":\"")
    s = ""; for (i = 2; i <= n; i++) s = s (i > 2 ? "," : "") (substr(part[i], 1, 1) == "W" ? 2 : -2)
    print "{\"id\":" id ",\"scores\":[" s "]}" }'
done"#;
    let file = world.write("prompt.sh", script);
    format!("rewards=[{{kind=\"process\",command=[\"sh\",\"{file}\"]}}]")
}

#[test]
fn v_ref_separates_prompts_and_is_stored_with_their_rows() {
    let world = World::with_reward();
    let sets = format!(
        "algorithm.name=a_lol algorithm.value_epochs=60 algorithm.value_lr=0.05 {}",
        by_prompt(&world)
    );
    // The run may find no positive advantage; only V_ref is tested.
    let _ = world.rl_by("run", &demonstrations(&sets));
    let rows = stored(&world, "run");
    let high = 1.0 / (1.0 + (-2f64).exp());
    let n_high = rows.iter().filter(|row| row.1 > 0.5).count();
    assert!(
        n_high > 4 && rows.len() - n_high > 4,
        "{n_high} of {}",
        rows.len()
    );
    let mut error = 0.0;
    for (_, score, value) in &rows {
        let wanted = if *score > 0.5 { high } else { 1.0 - high };
        assert_close_slices("R", &[*score], &[wanted], 1e-6);
        error += (value - score).powi(2) / rows.len() as f64;
    }
    let p = n_high as f64 / rows.len() as f64;
    let variance = p * (1.0 - p) * (2.0 * high - 1.0).powi(2);
    assert!(error < variance / 4.0, "{error} of {variance}");
}

/// V_ref and R are one batch where a source is normalised over it: answers that beat the reference
/// keep an advantage.
#[test]
fn the_reference_and_the_pool_are_scored_in_one_batch() {
    let world = World::with_reward();
    let sets = "algorithm.name=a_lol algorithm.value_epochs=40 algorithm.value_lr=0.05 \
                rewards=[{kind=\"format\",must_match='^[A-Z][a-z]+\\s[a-z]+\\s[a-z]+\\s[a-z]+',normalise=\"batch\"}]";
    world.rl_by("run", &demonstrations(sets)).unwrap();
    let positive = world.curve("run", "a_lol/positive_frac")[0];
    assert!(positive > 0.8, "{positive}");
}

#[test]
fn rows_are_drawn_in_proportion_to_their_weight() {
    let world = World::with_reward();
    let sets = "algorithm.name=wbc train.steps=12 rollout.prompts=64 train.policy.lr=1e-6";
    world.rl("run", &demonstrations(sets)).unwrap();
    let scores: Vec<f64> = stored(&world, "run").into_iter().map(|row| row.1).collect();
    let (sum, squares): (f64, f64) = (scores.iter().sum(), scores.iter().map(|s| s * s).sum());
    let weights = world.curve("run", "a_lol/row_weight");
    let drawn = weights.iter().sum::<f64>() / weights.len() as f64;
    let variance = |power: i32| {
        let moment = |k: i32| scores.iter().map(|s| s.powi(k)).sum::<f64>() / sum;
        moment(1 + 2 * power) - moment(1 + power).powi(2)
    };
    // within four standard errors of 768 draws; each row alike would be elsewhere
    let error = (variance(1) / 768.0).sqrt();
    let (by_weight, alike) = (squares / sum, sum / scores.len() as f64);
    assert!(
        (drawn - by_weight).abs() < 4.0 * error,
        "{drawn} for {by_weight}"
    );
    assert!(
        (alike - by_weight).abs() > 8.0 * error,
        "{alike} and {by_weight} are too near"
    );
}

/// The tensors of a file of a checkpoint.
fn tensors(world: &World, run: &str, step: u64, file: &str) -> HashMap<String, Vec<f64>> {
    let path = world
        .path(run)
        .join(format!("checkpoints/step-{step:06}/{file}.safetensors"));
    let found = candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
    let plain = |name: String| name.trim_start_matches("policy.").to_string();
    found
        .into_iter()
        .map(|(name, tensor)| (plain(name), values(&tensor)))
        .collect()
}

#[test]
fn the_copies_of_gold_change_only_when_due_and_resume() {
    let world = World::with_reward();
    let sets = demonstrations(
        "algorithm.name=gold_s algorithm.sync_steps=3 algorithm.sync_epoch=false algorithm.drift=true \
         data.max_rows=9 train.save_every=1",
    );
    // 8 rows, 4 a step: a pass is two steps
    check_resume(
        &world,
        World::rl,
        "train.steps",
        &format!("{sets} train.save_every=2"),
    );
    world
        .rl(
            "each",
            &format!("{sets} train.keep_checkpoints=9 train.steps=6"),
        )
        .unwrap();
    let policy = |step| tensors(&world, "each", step, "params");
    let old = |step| tensors(&world, "each", step, "old");
    assert_eq!(old(1), old(3));
    assert_ne!(old(1), policy(1));
    // π̃ is taken before the fourth step, from the policy after the third
    assert_eq!(old(4), policy(3));
    assert_eq!(old(6), policy(3));
    let mle = |step| tensors(&world, "each", step, "reference");
    assert_eq!(mle(3), policy(2));
    assert_eq!(mle(5), policy(4));
}

#[test]
fn rest_with_gold_inside_resumes_exactly() {
    let sets = demonstrations(
        "algorithm.name=rest algorithm.loss=gold algorithm.gold.sync_steps=1 algorithm.improve_steps=1 \
         algorithm.thresholds=[0.0,0.01] algorithm.samples=2 data.max_rows=9",
    );
    check_resume(&World::with_reward(), World::rl, "train.steps", &sets);
}

#[test]
fn a_changed_pool_file_is_refused() {
    let world = World::with_reward();
    let sets = demonstrations("algorithm.name=wbc");
    world.rl("run", &sets).unwrap();
    let more = format!("resume {sets} train.steps=6");
    let (file, before) = (world.path("run/pool-000000.jsonl"), world.content("run"));
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replacen("\"score\":0.", "\"score\":1.", 1);
    assert_ne!(changed, text);
    fs::write(&file, changed).unwrap();
    let line = run::one_line(&world.rl("run", &more).unwrap_err());
    let expected = format!(
        "{} does not have the checksum in {}",
        file.display(),
        world.text("run/pool-000000.sha256")
    );
    assert!(
        line.starts_with(&format!("step 5: {expected}; restore")),
        "{line}"
    );
    assert_eq!(world.content("run"), before);
    fs::write(&file, text).unwrap();
    world.rl("run", &more).unwrap();
    // a run of a version without the checksum goes on
    fs::remove_file(world.path("run/pool-000000.sha256")).unwrap();
    world.rl("run", &format!("{more} train.steps=7")).unwrap();
}

#[test]
fn settings_that_cannot_work_with_stored_responses_are_refused() {
    let world = World::with_reward();
    for name in ["wbc", "rwr", "a_lol", "rest"] {
        let sets = format!("algorithm.name={name} rewards=[{{kind=\"rouge_l\"}}]");
        let message = "the rewards compare with the data's own answers, and those are what this algorithm learns from";
        refused(&world, world.rl("out", &demonstrations(&sets)), &[message]);
    }
    // only known once the pool is there
    let sets = demonstrations("algorithm.name=rwr algorithm.normalise=prompt");
    let error = world.rl("rwr", &sets).unwrap_err().to_string();
    assert!(error.contains("prompt has only one"), "{error}");
    for (sets, message) in [
        (
            "algorithm.gold.suffix=3",
            "algorithm.gold needs algorithm.loss = \"gold\"",
        ),
        (
            "algorithm.loss=gold algorithm.gold.baseline=1",
            "unknown key \"algorithm.gold.baseline\"",
        ),
    ] {
        let sets = format!("algorithm.name=rest {sets}");
        refused(&world, world.rl("out", &demonstrations(&sets)), &[message]);
    }
}
