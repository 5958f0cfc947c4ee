//! The context's limit, the split by prompt and the loader.

use super::tokens::EOS;
use data::{Cursor, Example, FitCounts, Limits, Loader, LostEnds, Mixture, TooLong};
use std::collections::BTreeSet;

fn example(n_prompt: usize, n: usize) -> Example {
    let mut ids: Vec<u32> = (0..n as u32).collect();
    ids[n - 1] = EOS;
    Example::new(ids, n_prompt)
}

/// The rows that fit, and what became of all.
pub fn fit<const N: usize>(
    rows: Vec<[Example; N]>,
    max_len: usize,
    policy: TooLong,
) -> data::Result<(Vec<[Example; N]>, FitCounts)> {
    let mut counts = FitCounts::default();
    let fitted = rows
        .into_iter()
        .map(|row| counts.fit(row, Limits::of_rows(max_len, policy)));
    let fitted = fitted.collect::<data::Result<Vec<_>>>()?;
    Ok((fitted.into_iter().flatten().collect(), counts))
}

/// Counts the examples whose answers end with EOS.
pub fn lost_ends(rows: &[Example]) -> LostEnds {
    let mut ends = LostEnds::default();
    rows.iter().for_each(|row| ends.add(row, EOS));
    ends
}

#[test]
fn rows_longer_than_the_context_are_counted() {
    let rows = || [(2, 5), (2, 8), (6, 9), (3, 6)].map(|(n_prompt, n)| [example(n_prompt, n)]);
    let fit = |policy| self::fit(rows().to_vec(), 6, policy);
    let (items, dropped) = fit(TooLong::Drop).unwrap();
    assert_eq!(items, [[example(2, 5)], [example(3, 6)]]);
    assert_eq!(
        (dropped.n_rows, dropped.n_dropped, dropped.n_truncated),
        (4, 2, 0)
    );
    let (items, cut) = fit(TooLong::TruncateResponse).unwrap();
    assert_eq!((cut.n_dropped, cut.n_truncated), (1, 1));
    assert_eq!(items[1][0].ids, [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        fit(TooLong::Error).unwrap_err().to_string(),
        "has 8 tokens, more than data.max_len = 6; raise it, or set data.too_long = \"drop\" or \"truncate_response\""
    );
    let pairs = vec![
        [example(2, 5), example(2, 8)],
        [example(2, 4), example(2, 6)],
    ];
    let (items, pairs) = self::fit(pairs, 6, TooLong::Drop).unwrap();
    assert_eq!(items, [[example(2, 4), example(2, 6)]]);
    assert_eq!((pairs.n_rows, pairs.n_dropped), (2, 1));
}

#[test]
fn pairs_without_a_difference_are_dropped_whether_truncated_or_not() {
    let mut later = example(2, 9);
    later.ids[7] = 99;
    let pairs = || {
        vec![
            [example(2, 5), example(2, 5)],
            [example(2, 9), later.clone()],
            [example(2, 5), example(2, 4)],
            [example(3, 4), example(3, 5)],
        ]
    };
    let (items, cut) = fit(pairs(), 6, TooLong::TruncateResponse).unwrap();
    // EOS alone is no answer
    assert_eq!(items, [[example(2, 5), example(2, 4)]]);
    assert_eq!((cut.n_equal, cut.n_truncated, cut.n_empty), (2, 1, 1));
    let (items, whole) = fit(pairs(), 9, TooLong::TruncateResponse).unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!((whole.n_equal, whole.n_truncated, whole.n_empty), (1, 0, 1));
}

#[test]
fn answers_without_eos_are_refused() {
    let mut rows: Vec<Example> = (0..100).map(|_| example(2, 5)).collect();
    rows[0].ids[4] = 0;
    lost_ends(&rows).check_labels(EOS).unwrap();
    rows[1].ids[4] = 0;
    assert_eq!(
        lost_ends(&rows).check_labels(EOS).unwrap_err().to_string(),
        "only 98 of 100 examples end with the EOS token 257; a model trained on them would not learn to stop; check the model's EOS token and chat template"
    );
    // prompts alone, without a label
    let rows: Vec<Example> = (0..3).map(|_| example(5, 5)).collect();
    let error = lost_ends(&rows).check_labels(EOS).unwrap_err().to_string();
    assert!(
        error.starts_with("only 0 of 3 examples end with"),
        "{error}"
    );
}

#[test]
fn a_prompt_is_never_on_both_sides_of_the_split() {
    let items: Vec<(u64, usize)> = (0..600).map(|i| ((i % 100) as u64, i)).collect();
    let (train, held) = data::split_by_key(items.clone(), |i| i.0, 0.1, 7);
    let keys = |side: &[(u64, usize)]| side.iter().map(|i| i.0).collect::<BTreeSet<_>>();
    assert!(keys(&train).is_disjoint(&keys(&held)));
    assert_eq!(
        (
            keys(&train).len(),
            keys(&held).len(),
            train.len(),
            held.len()
        ),
        (90, 10, 540, 60)
    );
    let reversed: Vec<_> = items.iter().rev().copied().collect();
    assert_eq!(
        keys(&data::split_by_key(reversed, |i| i.0, 0.1, 7).1),
        keys(&held)
    );
    assert_ne!(
        keys(&data::split_by_key(items.clone(), |i| i.0, 0.1, 8).1),
        keys(&held)
    );
    assert_eq!(data::split_by_key(items.clone(), |i| i.0, 0.0, 7).1, []);
    assert_eq!(data::split_by_key(vec![1, 2], |i| *i, 0.001, 7).1.len(), 1);
    assert_eq!(
        data::split_by_key(vec![1, 1], |i| *i, 0.5, 7),
        (vec![1, 1], vec![])
    );
}

#[test]
fn a_resumed_loader_continues_with_the_same_batches() {
    let mut whole = Loader::new(&Mixture::of_rows(10), 4, 3, Cursor::default());
    let mut cursors = vec![whole.cursor()];
    let batches: Vec<Vec<usize>> = (0..9)
        .map(|_| {
            let batch = whole.next_batch();
            cursors.push(whole.cursor());
            batch
        })
        .collect();
    assert_eq!(whole.batches_per_epoch(), 3);
    assert_eq!(
        batches.iter().map(Vec::len).collect::<Vec<_>>(),
        [4, 4, 2, 4, 4, 2, 4, 4, 2]
    );
    let epochs: Vec<Vec<usize>> = batches.chunks(3).map(|epoch| epoch.concat()).collect();
    for epoch in &epochs {
        assert_eq!(
            epoch.iter().copied().collect::<BTreeSet<_>>(),
            (0..10).collect()
        );
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    for (i, cursor) in cursors.iter().enumerate().take(9) {
        let json = serde_json::to_string(cursor).unwrap();
        let mut resumed = Loader::new(
            &Mixture::of_rows(10),
            4,
            3,
            serde_json::from_str(&json).unwrap(),
        );
        let rest: Vec<Vec<usize>> = (i..9).map(|_| resumed.next_batch()).collect();
        assert_eq!(rest, batches[i..]);
    }
    assert_ne!(
        Loader::new(&Mixture::of_rows(10), 10, 4, Cursor::default()).next_batch(),
        epochs[0]
    );
    assert!(
        Loader::new(&Mixture::of_rows(0), 4, 3, Cursor::default())
            .next_batch()
            .is_empty()
    );
}
