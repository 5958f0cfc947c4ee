//! Sequences around the length at which longrope changes its frequencies.

use super::families::Case;
use models::KvCache;
use ops::Ragged;
use testkit::assert_close;

/// Samples that share a prompt have the frequencies of the longest, which passes the length at
/// which they change.
#[test]
fn samples_of_a_prompt_are_rotated_by_the_longest() {
    let case = Case::all().find(|case| case.name == "phi3-long").unwrap();
    let (model, ids) = (&case.model, &case.ids[case.layout.range(3)]);
    let tree = Ragged::continued(&[9, 2, 14], vec![None, Some(0), Some(0)]);
    let (prompt, short, long) = (&ids[..9], &ids[30..32], &ids[9..23]);
    let ids = [prompt, short, long].concat();
    let found = model.hidden(&ids, &tree, None, None).unwrap();
    let alone = [prompt, long].concat();
    let alone = model.hidden(&alone, &Ragged::from_lens(&[23]), None, None);
    let wanted = alone.unwrap().narrow(0, 9, 14).unwrap();
    assert_close("long", &found.narrow(0, 11, 14).unwrap(), &wanted, 1e-5);
}

#[test]
fn decoding_stays_on_one_side_of_the_change_of_frequencies() {
    let case = Case::all().find(|case| case.name == "phi3-long").unwrap();
    let config = &case.model.config;
    let limits = [1, 16, 17].map(|prompt| config.limit_behind(prompt));
    assert_eq!(limits, [16, 16, 64]);
    assert_eq!(config.decoding_context(), 16);
    let error = |prompt: usize, max_new_tokens: usize| {
        let engine = generation::Engine {
            model: &case.model,
            lora: None,
            stop: &[],
            max_rows: 4,
            keep_states: false,
        };
        let request = generation::Request {
            prompt: case.ids[..prompt].to_vec(),
            n: 1,
            sampling: generation::Sampling {
                max_new_tokens,
                ..Default::default()
            },
            stream: [1, 0, 0],
        };
        let run = engine.run(&[request], &mut |_, _| ());
        run.err().map(|error| error.to_string())
    };
    assert_eq!(error(9, 7), None);
    let text = error(9, 8).unwrap();
    assert!(text.contains("passes the 16 tokens at which"), "{text}");
    assert_eq!(error(17, 8), None);
    let text = error(17, 48).unwrap();
    assert!(text.contains("exceeds the model's context of 64"), "{text}");
}

/// Beyond the length at which the frequencies change, a growing sequence has no right keys.
#[test]
fn a_sequence_that_grows_over_the_change_of_frequencies_is_refused() {
    let case = Case::all().find(|case| case.name == "phi3-long").unwrap();
    let (model, ids) = (&case.model, &case.ids[case.layout.range(3)]);
    assert_eq!(model.config.rope_switch(), Some(16));
    let mut cache = KvCache::new(model).unwrap();
    let (short, long) = (cache.open(None).unwrap(), cache.open(None).unwrap());
    let mut grow = |seq, n: usize| {
        let layout = Ragged::from_lens(&[n]);
        model.forward_cached(&ids[..n], &layout, &[seq], &mut cache, None)
    };
    grow(short, 15).unwrap();
    grow(short, 1).unwrap();
    let error = grow(short, 1).unwrap_err().to_string();
    assert!(error.contains("would pass 16 tokens"), "{error}");
    // a prompt that is longer has the frequencies of long sequences from its start
    grow(long, 17).unwrap();
    grow(long, 1).unwrap();
}
