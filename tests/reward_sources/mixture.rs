//! Weighted sums: the reward model among them, normalising, clipping, and the state that a resumed
//! run needs.

use super::{World, f64s, item};
use crate::rewards::rows;
use models::CausalLm;
use rewards::{Item, Mixture, RewardModel, SourceConfig};
use testkit::assert_close_slices;

fn normalised(reward: &RewardModel, llama: &CausalLm, rows: &[Vec<u32>]) -> Vec<f32> {
    let rows: Vec<_> = rows.iter().map(|ids| (ids.as_slice(), 0)).collect();
    let raw = reward.score(llama, &rows).unwrap();
    raw.into_iter()
        .map(|score| reward.normalised(score))
        .collect()
}

#[test]
fn the_model_alone_equals_the_reward_model_bit_for_bit() {
    let mut world = World::new("{ kind = \"model\" }", true);
    let rows = rows(9);
    let expected = normalised(world.mixture.model().unwrap(), &world.llama, &rows);
    let items: Vec<Item> = rows.iter().map(|ids| Item { ids, ..item("") }).collect();
    let scored = world.score(&items);
    assert_eq!(scored.total, expected);
    let mean = f64s(&expected).iter().sum::<f64>() / 9.0;
    assert_close_slices("mean", &[scored.means["model"]], &[mean], 1e-12);

    let opened = Mixture::open(&[SourceConfig::model()], None);
    let error = match opened {
        Ok(_) => panic!("opened without a model"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("there is no reward model"), "{error}");
}

#[test]
fn a_mixture_is_the_weighted_sum_of_its_sources() {
    let entries = r#"{ kind = "length", target = 4, weight = 2.0 }, { kind = "format", ends_with = "!", weight = -1.5 },
                     { kind = "model", weight = 0.5 }, { kind = "format", starts_with = "a", weight = 0 }"#;
    let mut world = World::new(entries, true);
    let rows = rows(3);
    let expected = normalised(world.mixture.model().unwrap(), &world.llama, &rows);
    let texts = ["abcd", "ab", "a!"];
    let items: Vec<Item> = rows
        .iter()
        .zip(texts)
        .map(|(ids, text)| Item { ids, ..item(text) })
        .collect();
    let scored = world.score(&items);
    let model = f64s(&expected);
    let sums = [
        2.0 + 0.5 * model[0],
        1.0 + 0.5 * model[1],
        1.0 - 1.5 + 0.5 * model[2],
    ];
    assert_close_slices("total", &f64s(&scored.total), &sums, 1e-6);
    let names: Vec<&str> = scored.means.keys().map(String::as_str).collect();
    assert_eq!(names, ["format", "format_2", "length", "model"]);
    let means: Vec<f64> = scored.means.values().copied().collect();
    let model = model.iter().sum::<f64>() / 3.0;
    assert_close_slices("means", &means, &[1.0 / 3.0, 1.0, 2.0 / 3.0, model], 1e-6);

    // rows read in parts and summed up together are the rows read together
    let mut parts = rewards::Readings::default();
    for item in &items {
        parts.extend(world.mixture.read(&world.llama, &[*item]).unwrap());
    }
    assert_close_slices(
        "parts",
        &f64s(&world.mixture.sum(&parts).total),
        &f64s(&scored.total),
        1e-6,
    );
    let nothing = world.score(&[]);
    assert!(nothing.total.is_empty() && nothing.means["model"] == 0.0);
}

const LENGTHS: [&str; 4] = ["a", "ab", "abc", "abcd"]; // scores 0.1 to 0.4 of target 10

const TARGET: &str = "kind = \"length\", target = 10";

#[test]
fn a_batch_is_normalised_then_clipped() {
    let std = (1.25f64).sqrt();
    let by = |shift: f64| [-1.5, -0.5, 0.5, 1.5].map(|x| shift + x / std);
    let batch = format!("{{ {TARGET}, normalise = \"batch\" }}");
    let mut world = World::new(&batch, false);
    assert_close_slices("batch", &world.totals(&LENGTHS), &by(0.0), 1e-5);
    assert_close_slices("again", &world.totals(&LENGTHS), &by(0.0), 1e-5);
    assert_eq!(
        world.totals(&["abc", "abc"]),
        [0.0; 2],
        "no spread to divide by"
    );
    assert_eq!(world.totals(&["abc"]), [0.0]);

    let clipped = format!("{{ {TARGET}, normalise = \"batch\", clip = [-1, 0.2], weight = 3 }}");
    let found = World::new(&clipped, false).totals(&LENGTHS);
    assert_close_slices("clipped", &found, &[-3.0, -1.5 / std, 0.6, 0.6], 1e-5);
    let raw = format!("{{ {TARGET}, clip = [0.15, 0.3] }}");
    let found = World::new(&raw, false).totals(&LENGTHS);
    assert_close_slices("raw", &found, &[0.15, 0.2, 0.3, 0.3], 1e-6);
}

#[test]
fn running_statistics_cover_all_scores_and_resume_exactly() {
    let entries =
        format!("{{ {TARGET}, normalise = \"running\" }}, {{ kind = \"format\", json = true }}");
    let mut world = World::new(&entries, false);
    let seen = [&LENGTHS[..2], &LENGTHS[2..], &["abcdefg"]];
    let mut all: Vec<f64> = Vec::new();
    for batch in seen {
        all.extend(batch.iter().map(|text| text.len() as f64 / 10.0));
        let n = all.len() as f64;
        let mean = all.iter().sum::<f64>() / n;
        let std = (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected: Vec<f64> = all[all.len() - batch.len()..]
            .iter()
            .map(|x| (x - mean) / std)
            .collect();
        assert_close_slices("running", &world.totals(batch), &expected, 1e-5);
    }

    let state = world.mixture.state();
    let stored: serde_json::Value = serde_json::from_str(&state.to_string()).unwrap();
    let mut resumed = World::new(&entries, false);
    resumed.mixture.restore(&stored).unwrap();
    assert_eq!(resumed.mixture.state(), state);
    for batch in [["abc", "a"], ["ab", "abcdef"]] {
        assert_eq!(resumed.totals(&batch), world.totals(&batch));
    }
    let mut other = World::new("{ kind = \"format\", json = true }", false);
    let error = other.mixture.restore(&stored).unwrap_err().to_string();
    assert!(error.contains("of other sources"), "{error}");
}

#[test]
fn plain_sums_are_not_normalised_and_change_no_statistics() {
    let entries = format!(
        "{{ {TARGET}, normalise = \"running\", clip = [-1, 0] }}, {{ {TARGET}, weight = 2, clip = [0, 0.25] }}"
    );
    let mut world = World::new(&entries, false);
    world.totals(&["a", "abcdefgh"]);
    let state = world.mixture.state();
    let items: Vec<Item> = LENGTHS.iter().map(|text| item(text)).collect();
    let readings = world.mixture.read(&world.llama, &items).unwrap();
    let scored = world.mixture.plain_sum(&readings);
    let sums = [0.1 + 0.2, 0.2 + 0.4, 0.3 + 0.5, 0.4 + 0.5];
    assert_close_slices("plain", &f64s(&scored.total), &sums, 1e-6);
    assert_close_slices("mean", &[scored.means["length_2"]], &[0.25], 1e-6);
    assert_eq!(world.mixture.state(), state);
}

/// A reward model was trained on answers that end in EOS. One that was cut off is read at its last
/// token, or at an EOS put after it.
#[test]
fn a_response_that_was_cut_off_is_read_where_the_setting_says() {
    let model = crate::rewards::model(1);
    let reward = crate::rewards::trained(&model);
    let eos = reward.ends.eos;
    let cut = [5, 6, 7, 8];
    let ended = [&cut[..], &[eos]].concat();
    let normalised = |ids: &[u32]| {
        let raw = reward.score(&model, &[(ids, 0)]).unwrap();
        reward.normalised(raw[0])
    };
    let (at_last, at_eos) = (normalised(&cut), normalised(&ended));
    assert!((at_last - at_eos).abs() > 1e-3, "{at_last} and {at_eos}");
    for (keys, ids, wanted) in [
        ("", &cut[..], at_last),
        ("unfinished = \"last_token\"", &cut, at_last),
        ("unfinished = \"eos\"", &cut, at_eos),
        ("unfinished = \"eos\"", &ended, at_eos),
    ] {
        let config: rewards::SourceConfig =
            toml::from_str(&format!("kind = \"model\"\n{keys}")).unwrap();
        let reward = crate::rewards::trained(&model);
        let mut mixture = rewards::Mixture::open(&[config], Some(reward)).unwrap();
        let item = rewards::Item {
            prompt: "p",
            response: "r",
            reference: None,
            ids,
            prompt_len: 2,
            n_response_tokens: ids.len() - 2,
        };
        let scored = mixture.score(&model, &[item]).unwrap();
        testkit::assert_close_slices(
            keys,
            &[f64::from(scored.total[0])],
            &[f64::from(wanted)],
            1e-6,
        );
    }
}
