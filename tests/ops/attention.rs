//! Attention and the KV cache: fused forms against the reference, prefixes, causality.

use super::f32s;
use candle_core::{DType, Device, Result, Tensor};
use ops::{AttentionSpec, Ragged, reference};
use testkit::{assert_close, assert_same, values, varied};

#[test]
fn causal_attention_equals_the_reference() {
    // lengths around the block of 64 query rows; groups of 1, 2 and 3
    for (lens, kv_heads, groups, head_dim) in [
        (vec![1], 1, 1, 4),
        (vec![5, 0, 3, 1], 2, 2, 8),
        (vec![63, 64, 65], 1, 3, 16),
        (vec![130, 2], 3, 3, 20),
        (vec![0, 0], 2, 1, 4),
    ] {
        let layout = Ragged::from_lens(&lens);
        let spec = AttentionSpec::new(kv_heads * groups, kv_heads, head_dim);
        let n = layout.n_tokens();
        let kv = kv_heads * head_dim;
        let inputs = [
            varied(&[n, kv * groups], 8, 2.0),
            varied(&[n, kv], 9, 2.0),
            varied(&[n, kv], 10, 1.0),
        ];
        assert_same(
            &format!("attention {lens:?} groups {groups}"),
            |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
            |x| reference::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
            &inputs,
            3e-5,
        );
    }
}

/// Sequences 1, 2 and 4 continue sequence 0, sequence 5 continues 3; lengths around the block of
/// query rows.
fn family(lens: [usize; 6]) -> Ragged {
    let parents = vec![None, Some(0), Some(0), None, Some(0), Some(3)];
    Ragged::continued(&lens, parents)
}

#[test]
fn attention_over_a_shared_prefix_equals_the_reference() {
    for (lens, kv_heads, groups, head_dim) in [
        ([3, 2, 0, 4, 5, 1], 1, 1, 4),
        ([70, 65, 1, 2, 64, 130], 2, 3, 20),
        ([0, 3, 2, 0, 1, 0], 1, 2, 8),
    ] {
        let layout = family(lens);
        let spec = AttentionSpec::new(kv_heads * groups, kv_heads, head_dim);
        let (n, kv) = (layout.n_tokens(), kv_heads * head_dim);
        let inputs = [
            varied(&[n, kv * groups], 8, 2.0),
            varied(&[n, kv], 9, 2.0),
            varied(&[n, kv], 10, 1.0),
        ];
        assert_same(
            &format!("attention over a prefix, {lens:?}"),
            |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
            |x| reference::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
            &inputs,
            3e-5,
        );
    }
}

#[test]
fn a_shared_prefix_gives_the_same_result_as_a_copy_of_it() {
    let (layout, d) = (family([5, 3, 2, 4, 6, 1]), 8);
    let spec = AttentionSpec::new(1, 1, d);
    let x: Vec<Tensor> = (0..3).map(|i| varied(&[21, d], 30 + i, 1.0)).collect();
    let shared = reference::causal_attention(&x[0], &x[1], &x[2], &layout, spec).unwrap();
    for (seq, prefix) in [(1, 0..5u32), (2, 0..5), (4, 0..5), (5, 10..14)] {
        let own = layout.range(seq);
        let rows: Vec<u32> = prefix.chain(own.clone().map(|row| row as u32)).collect();
        let whole: Vec<Tensor> = x
            .iter()
            .map(|x| x.index_select(&Tensor::new(rows.as_slice(), &Device::Cpu).unwrap(), 0))
            .collect::<Result<_>>()
            .unwrap();
        let alone = Ragged::from_lens(&[rows.len()]);
        let alone =
            reference::causal_attention(&whole[0], &whole[1], &whole[2], &alone, spec).unwrap();
        let last = alone.narrow(0, rows.len() - own.len(), own.len()).unwrap();
        let found = shared.narrow(0, own.start, own.len()).unwrap();
        assert_close(&format!("sequence {seq}"), &found, &last, 1e-12);
        let first = rows.len() as u32 - own.len() as u32;
        let positions: Vec<u32> = (first..rows.len() as u32).collect();
        assert_eq!(&layout.positions()[own], positions.as_slice());
    }
    assert_eq!(layout.contexts(), [5, 8, 7, 4, 11, 5]);
}

#[test]
#[should_panic(expected = "sequence 2 cannot continue 1")]
fn a_prefix_cannot_continue_another_sequence() {
    Ragged::continued(&[1, 1, 1], vec![None, Some(0), Some(1)]);
}

#[test]
fn a_token_does_not_see_other_sequences_or_later_tokens() {
    let layout = Ragged::from_lens(&[4, 6, 3]);
    let x: Vec<Tensor> = (0..3).map(|i| f32s(&[13, 8], 11 + i, 1.0)).collect();
    let run = |x: &[Tensor], layout: &Ragged| {
        ops::causal_attention(&x[0], &x[1], &x[2], layout, AttentionSpec::new(2, 2, 4)).unwrap()
    };
    let all = run(&x, &layout);

    let order = Tensor::new(&[10u32, 11, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &Device::Cpu).unwrap();
    let moved: Vec<Tensor> = x
        .iter()
        .map(|x| x.index_select(&order, 0).unwrap())
        .collect();
    let permuted = run(&moved, &Ragged::from_lens(&[3, 4, 6]));
    assert_close(
        "permuted",
        &permuted,
        &all.index_select(&order, 0).unwrap(),
        0.0,
    );

    let prefix: Vec<Tensor> = x.iter().map(|x| x.narrow(0, 4, 2).unwrap()).collect();
    let alone = run(&prefix, &Ragged::from_lens(&[2]));
    assert_close("prefix alone", &alone, &all.narrow(0, 4, 2).unwrap(), 1e-6);
}

#[test]
fn cached_attention_over_split_spans_equals_the_last_row_of_causal_attention() {
    for (lens, kv_heads, groups, head_dim) in [
        (vec![1, 7, 150], 1, 1, 8),
        (vec![70, 64], 3, 3, 20),
        (vec![5], 2, 2, 64),
    ] {
        let layout = Ragged::from_lens(&lens);
        let spec = AttentionSpec::new(kv_heads * groups, kv_heads, head_dim);
        let (n, kv) = (layout.n_tokens(), kv_heads * head_dim);
        let q = f32s(&[n, kv * groups], 60, 2.0);
        let (k, v) = (f32s(&[n, kv], 61, 2.0), f32s(&[n, kv], 62, 1.0));
        let all = ops::causal_attention(&q, &k, &v, &layout, spec).unwrap();

        // a store in which every other sequence lies in two pieces, the later piece first
        let store = |x: &Tensor| {
            let store = Tensor::full(f32::NAN, (2 * n + 3, kv), &Device::Cpu).unwrap();
            let rows: Vec<usize> = (0..n)
                .map(|i| if i % 2 == 0 { i / 2 } else { n + 3 + i / 2 })
                .collect();
            ops::scatter_rows(&store, &rows, x).unwrap();
            (store, rows)
        };
        let ((keys, rows), (values, _)) = (store(&k), store(&v));
        let spans: Vec<Vec<(usize, usize)>> = layout
            .ranges()
            .map(|r| {
                let even = r.clone().filter(|i| i % 2 == 0);
                let odd = r.filter(|i| i % 2 == 1);
                let run = |mut i: Box<dyn Iterator<Item = usize>>| {
                    i.next().map(|f| (rows[f], 1 + i.count()))
                };
                [run(Box::new(even)), run(Box::new(odd))]
                    .into_iter()
                    .flatten()
                    .collect()
            })
            .collect();
        let last: Vec<u32> = layout.ranges().map(|r| r.end as u32 - 1).collect();
        let last = Tensor::new(last, &Device::Cpu).unwrap();
        let q_last = q.index_select(&last, 0).unwrap();
        let wanted = all.index_select(&last, 0).unwrap();
        let found = ops::cached_attention(&q_last, &keys, &values, &spans, spec).unwrap();
        assert_close(&format!("cached {lens:?}"), &found, &wanted, 2e-5);
        let plain = reference::cached_attention(&q_last, &keys, &values, &spans, spec).unwrap();
        assert_close(&format!("reference cached {lens:?}"), &plain, &wanted, 2e-5);
    }
}

#[test]
fn scatter_rows_writes_only_the_given_rows() {
    for dtype in [DType::F32, DType::F64] {
        let store = Tensor::zeros((5, 3), dtype, &Device::Cpu).unwrap();
        let src = varied(&[4, 2], 63, 1.0).to_dtype(dtype).unwrap();
        let src = Tensor::cat(&[&src, &src.narrow(1, 0, 1).unwrap()], 1).unwrap();
        // a view that begins beyond the start of its storage
        ops::scatter_rows(&store, &[4, 0], &src.narrow(0, 1, 2).unwrap()).unwrap();
        let (store, src) = (values(&store), values(&src));
        assert_eq!(store[0..3], src[6..9]);
        assert_eq!(store[12..15], src[3..6]);
        assert!(store[3..12].iter().all(|x| *x == 0.0));
    }
}
