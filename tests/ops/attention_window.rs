//! Attention within a sliding window: fused forms against the reference, closed forms, and that no
//! work is done for keys that no query of a tile sees.

use super::f32s;
use candle_core::{DType, Device, Result, Tensor};
use ops::{AttentionSpec, Ragged, reference};
use testkit::{assert_close, assert_close_slices, assert_same, gradients, values, varied};

/// Around the 64 query rows of a tile, and wider than every context.
const WINDOWS: [usize; 9] = [1, 2, 3, 63, 64, 65, 127, 1000, usize::MAX];

/// Up to six sequences of up to 150 tokens, some of which continue an earlier one.
fn random_tree(seed: u64) -> Ragged {
    let draws = values(&varied(&[12], seed, 1.0 / 3.4)); // −0.5 .. 0.5
    let below = |i: usize, n: usize| ((draws[i] + 0.5) * n as f64) as usize;
    let n = 1 + below(0, 6);
    let lens: Vec<usize> = (0..n).map(|i| below(i, 151)).collect();
    let mut parents: Vec<Option<usize>> = vec![None];
    for i in 1..n {
        let parent = Some(below(6 + i, 2 * i)).filter(|p| *p < i && parents[*p].is_none());
        parents.push(parent);
    }
    Ragged::continued(&lens, parents)
}

#[test]
fn attention_within_a_window_equals_the_reference() {
    let mut continued = 0;
    for seed in 1..12 {
        let layout = random_tree(seed);
        let parts = 0..layout.n_seqs();
        continued += parts
            .filter(|seq| layout.len(*seq) > 0 && !layout.prefix(*seq).is_empty())
            .count();
        let n = layout.n_tokens();
        let inputs = [
            varied(&[n, 24], 8, 2.0),
            varied(&[n, 12], 9, 2.0),
            varied(&[n, 12], 10, 1.0),
        ];
        for window in WINDOWS {
            let spec = AttentionSpec::new(4, 2, 6).with_window(Some(window));
            assert_same(
                &format!("{layout:?}, window {window}"),
                |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
                |x| reference::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
                &inputs,
                3e-5,
            );
        }
    }
    assert!(continued > 5, "{continued} sequences continue another");
}

/// Where all scores are equal, a query gets the mean of the values that it sees. Positions count
/// from the beginning of the sequence that is continued.
#[test]
fn a_query_sees_as_many_keys_as_the_window_has() -> Result<()> {
    let layout = Ragged::continued(&[3, 2, 2], vec![None, Some(0), Some(0)]);
    let v = Tensor::new(
        &[[1f32], [2.], [4.], [8.], [16.], [32.], [64.]],
        &Device::Cpu,
    )?;
    let zeros = v.zeros_like()?;
    for (window, wanted) in [
        (1, [1., 2., 4., 8., 16., 32., 64.]),
        (2, [1., 1.5, 3., 6., 12., 18., 48.]),
        (
            3,
            [1., 1.5, 7. / 3., 14. / 3., 28. / 3., 38. / 3., 100. / 3.],
        ),
        (
            4,
            [1., 1.5, 7. / 3., 15. / 4., 30. / 4., 39. / 4., 102. / 4.],
        ),
        (
            5,
            [1., 1.5, 7. / 3., 15. / 4., 31. / 5., 39. / 4., 103. / 5.],
        ),
    ] {
        let spec = AttentionSpec::new(1, 1, 1).with_window(Some(window));
        let fused = ops::causal_attention(&zeros, &zeros, &v, &layout, spec)?;
        let plain = reference::causal_attention(&zeros, &zeros, &v, &layout, spec)?;
        for (form, found) in [("fused", fused), ("reference", plain)] {
            let name = format!("{form}, window {window}");
            assert_close_slices(&name, &values(&found), &wanted, 1e-6);
        }
    }
    Ok(())
}

/// The spans are the window; `spec.window` hides nothing of them.
#[test]
fn cached_attention_over_the_spans_of_a_window_equals_attention_within_it() -> Result<()> {
    let (layout, n) = (Ragged::from_lens(&[150]), 150);
    let spec = AttentionSpec::new(4, 2, 6).with_window(Some(40));
    let (q, k) = (f32s(&[n, 24], 1, 2.0), f32s(&[n, 12], 2, 2.0));
    let v = f32s(&[n, 12], 3, 1.0);
    let spans: Vec<_> = (0..n)
        .map(|position| {
            let first = spec.first_key(position);
            vec![(first, position + 1 - first)]
        })
        .collect();
    let wanted = ops::causal_attention(&q, &k, &v, &layout, spec)?;
    let found = ops::cached_attention(&q, &k, &v, &spans, spec)?;
    assert_close("cached", &found, &wanted, 2e-5);
    let narrower = spec.with_window(Some(1));
    let same = ops::cached_attention(&q, &k, &v, &spans, narrower)?;
    assert_eq!(values(&same), values(&found));
    Ok(())
}

/// The result and the gradients of q, k and v.
pub(crate) fn attended(
    inputs: &[Tensor],
    dtype: DType,
    layout: &Ragged,
    spec: AttentionSpec,
) -> [Tensor; 4] {
    let attend = |x: &[Tensor]| ops::causal_attention(&x[0], &x[1], &x[2], layout, spec);
    let (y, grads) = gradients(attend, inputs, dtype).unwrap();
    let [q, k, v] = <[Tensor; 3]>::try_from(grads).unwrap();
    [y, q, k, v]
}

/// For heads of 16. NaN in what no query sees, or in queries that see no key, reaches nothing.
pub(crate) fn assert_skips_what_is_out_of_sight(dtype: DType, forms: &dyn Fn(&dyn Fn())) {
    let layout = Ragged::continued(&[300, 80], vec![None, Some(0)]);
    let spec = AttentionSpec::new(2, 1, 16).with_window(Some(3));
    let inputs = [
        varied(&[380, 32], 1, 1.0),
        varied(&[380, 16], 2, 1.0),
        varied(&[380, 16], 3, 1.0),
    ];
    let poisoned = |x: &Tensor, rows: std::ops::Range<usize>| {
        let width = x.dim(1).unwrap();
        let mut numbers = values(x);
        numbers[rows.start * width..rows.end * width].fill(f64::NAN);
        Tensor::from_vec(numbers, x.shape(), &Device::Cpu).unwrap()
    };
    let rows = |x: &Tensor, from: usize, n: usize| values(&x.narrow(0, from, n).unwrap());
    forms(&|| {
        let clean = attended(&inputs, dtype, &layout, spec);
        let [q, k, v] = &inputs;
        // the queries after the first tile do not read the first keys and values
        let early = [q.clone(), poisoned(k, 0..60), poisoned(v, 0..60)];
        let found = attended(&early, dtype, &layout, spec);
        for (found, clean) in found.iter().zip(&clean) {
            assert_eq!(rows(found, 64, 316), rows(clean, 64, 316));
        }
        // the last queries, of the sequence and of its continuation, are not read for earlier keys
        let late = [
            poisoned(&poisoned(q, 260..300), 305..380),
            k.clone(),
            v.clone(),
        ];
        let found = attended(&late, dtype, &layout, spec);
        for (found, clean) in found.iter().zip(&clean) {
            assert_eq!(rows(found, 0, 250), rows(clean, 0, 250));
        }
    });
}

#[test]
fn work_is_proportional_to_the_window() {
    assert_skips_what_is_out_of_sight(DType::F32, &|run| run());
}

#[test]
fn a_window_beyond_every_context_changes_no_bit() {
    let layout = Ragged::continued(&[70, 60, 65], vec![None, Some(0), None]);
    let inputs = [1, 2, 3].map(|seed| f32s(&[195, 8], seed, 1.0));
    let of = |window| {
        let spec = AttentionSpec::new(1, 1, 8).with_window(window);
        attended(&inputs, DType::F32, &layout, spec).map(|x| values(&x))
    };
    assert_eq!(of(Some(130)), of(None));
    assert_ne!(of(Some(129)), of(None));
}
