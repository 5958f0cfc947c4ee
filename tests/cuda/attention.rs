//! Attention kernels and cache writes against the references in f64.

use crate::cuda::{DTYPES, assert_kernel, assert_near, on_emulated_gpu};
use crate::ops::attention_window::{assert_skips_what_is_out_of_sight, attended};
use candle_core::{DType, Device, Tensor};
use ops::{AttentionSpec, Ragged, Rotation, reference};
use testkit::{values, varied};

/// Tiles of 64, prefixes that others continue, an empty sequence.
fn layouts() -> [Ragged; 5] {
    [
        Ragged::from_lens(&[1, 5]),
        Ragged::from_lens(&[64, 0, 65, 3]),
        Ragged::from_lens(&[131]),
        Ragged::continued(
            &[70, 9, 66, 4, 3],
            vec![None, Some(0), Some(0), None, Some(3)],
        ),
        Ragged::continued(&[0, 9, 5], vec![None, Some(0), Some(0)]),
    ]
}

#[test]
fn causal_attention_equals_the_reference() {
    for layout in &layouts() {
        // groups of heads
        for (head_dim, heads, kv_heads) in
            [(16, 2, 1), (32, 3, 3), (64, 4, 2), (96, 2, 1), (128, 1, 1)]
        {
            let spec = AttentionSpec::new(heads, kv_heads, head_dim);
            let n = layout.n_tokens();
            let inputs = [
                varied(&[n, heads * head_dim], 6, 1.0),
                varied(&[n, kv_heads * head_dim], 7, 1.0),
                varied(&[n, kv_heads * head_dim], 8, 1.0),
            ];
            assert_kernel(
                &format!("attention {:?} of {head_dim}", layout.lens()),
                DType::BF16,
                |x| ops::causal_attention(&x[0], &x[1], &x[2], layout, spec),
                |x| reference::causal_attention(&x[0], &x[1], &x[2], layout, spec),
                &inputs,
                1e-2,
            );
        }
    }
}

/// Windows inside a tile and around both tile heights.
#[test]
fn attention_within_a_window_equals_the_reference() {
    let long = Ragged::continued(&[200, 150, 30], vec![None, Some(0), None]);
    for (layout, windows) in [
        (&layouts()[1], [2, 3, 63]),
        (&layouts()[3], [31, 64, 72]),
        (&long, [33, 65, 250]),
    ] {
        for window in windows {
            let spec = AttentionSpec::new(2, 1, 16).with_window(Some(window));
            let n = layout.n_tokens();
            let inputs = [
                varied(&[n, 32], 6, 1.0),
                varied(&[n, 16], 7, 1.0),
                varied(&[n, 16], 8, 1.0),
            ];
            assert_kernel(
                &format!("attention {:?}, window {window}", layout.lens()),
                DType::BF16,
                |x| ops::causal_attention(&x[0], &x[1], &x[2], layout, spec),
                |x| reference::causal_attention(&x[0], &x[1], &x[2], layout, spec),
                &inputs,
                1e-2,
            );
        }
    }
}

/// In a window of one key, scores do not matter: neither to the result nor as gradients.
#[test]
fn a_query_that_sees_one_key_gets_its_value() {
    let layout = Ragged::continued(&[70, 3], vec![None, Some(0)]);
    let spec = AttentionSpec::new(1, 1, 16).with_window(Some(1));
    let inputs = [1, 2, 3].map(|seed| {
        let x = varied(&[73, 16], seed, 1.0);
        x.to_dtype(DType::BF16).unwrap()
    });
    let [y, q, k, _] = on_emulated_gpu(false, || attended(&inputs, DType::BF16, &layout, spec));
    assert_eq!(values(&y), values(&inputs[2]));
    for grad in [q, k] {
        assert!(values(&grad).iter().all(|g| g.abs() < 1e-5));
    }
}

#[test]
fn work_is_proportional_to_the_window() {
    assert_skips_what_is_out_of_sight(DType::BF16, &|run| on_emulated_gpu(false, run));
}

#[test]
fn cached_attention_equals_the_reference() {
    for (dtype, tolerance) in DTYPES {
        for (head_dim, heads, kv_heads) in
            [(16, 2, 1), (32, 3, 3), (64, 4, 2), (96, 2, 1), (128, 1, 1)]
        {
            let spec = AttentionSpec::new(heads, kv_heads, head_dim);
            let (size, width) = (90, kv_heads * head_dim);
            let numbers = |shape: &[usize], seed| varied(shape, seed, 1.0).to_dtype(dtype).unwrap();
            let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
            let (keys, store) = (numbers(&[size, width], 18), numbers(&[size, width], 19));
            let q = numbers(&[3, heads * head_dim], 20);
            let spans = [
                vec![(3, 1)],
                vec![(0, 40), (50, 7)],
                vec![(80, 10), (10, 2), (41, 1)],
            ];
            let rows = [5, 89, 41];
            let fresh = numbers(&[3, width], 21);
            let found = on_emulated_gpu(false, || {
                ops::scatter_rows(&store, &rows, &fresh)?;
                ops::cached_attention(&q, &keys, &store, &spans, spec)
            });
            let values = numbers(&[size, width], 19);
            reference::scatter_rows(&values, &rows, &fresh).unwrap();
            assert_near("store", &store, &values, 0.0);
            let wanted =
                reference::cached_attention(&wide(&q), &wide(&keys), &wide(&values), &spans, spec);
            let name = format!("cached attention of {head_dim} {dtype:?}");
            assert_near(&name, &found.unwrap(), &wanted.unwrap(), tolerance);
        }
    }
}

/// One kernel gives the bits of rotation and two stores.
#[test]
fn rotate_into_equals_rope_and_scatter_rows() {
    for (dtype, _) in DTYPES {
        // whole heads and a part of each
        for (head_dim, half) in [(8, 4), (8, 3), (16, 1)] {
            let (n, width, kv_width) = (3, 48, 16);
            let numbers = |shape: &[usize], seed| varied(shape, seed, 1.0).to_dtype(dtype).unwrap();
            let (cos, sin) = crate::ops::tables(9, 2 * half);
            let f32 = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            let (cos, sin) = (f32(&cos), f32(&sin));
            let (q, k, v) = (
                numbers(&[n, width], 1),
                numbers(&[n, kv_width], 2),
                numbers(&[n, kv_width], 3),
            );
            let (positions, rows) = ([8, 0, 3], [6, 1, 4]);
            let rotation = Rotation {
                tables: (&cos, &sin),
                positions: &positions,
                head_dim,
            };
            let stores = || (numbers(&[7, kv_width], 4), numbers(&[7, kv_width], 5));
            let ((keys, values_), (plain_keys, plain_values)) = (stores(), stores());
            let of =
                |rows: &[usize]| ops::rotate_into([&q, &k, &v], rotation, (&keys, &values_), rows);
            on_emulated_gpu(false, || {
                let found = of(&rows).unwrap();
                let wanted = ops::rope(&q, rotation).unwrap();
                let k = ops::rope(&k, rotation).unwrap();
                ops::scatter_rows(&plain_keys, &rows, &k).unwrap();
                ops::scatter_rows(&plain_values, &rows, &v).unwrap();
                assert_eq!(values(&found), values(&wanted));
            });
            assert_eq!(values(&keys), values(&plain_keys));
            assert_eq!(values(&values_), values(&plain_values));
            let refused = on_emulated_gpu(false, || of(&[6, 1, 7]));
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("do not fit stores [7, 16]"), "{error}");
        }
    }
}

#[test]
fn a_head_width_without_a_kernel_uses_the_reference() {
    let q = Tensor::zeros((2, 24), DType::BF16, &Device::Cpu).unwrap();
    let layout = Ragged::from_lens(&[2]);
    // no kernel for heads of 12
    let out = on_emulated_gpu(false, || {
        ops::causal_attention(&q, &q, &q, &layout, AttentionSpec::new(2, 2, 12))
    });
    assert_eq!(values(&out.unwrap()), [0.0; 48]);
}
