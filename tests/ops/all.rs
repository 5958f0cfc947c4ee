//! Properties of all operations: gradients, views, determinism, errors, the instruction set.

use super::{f32s, stacked, tables, targets, temperatures};
use candle_core::{DType, Device, Result, Tensor};
use ops::{AttentionSpec, Ragged, Rotation, reference};
use testkit::{assert_close, assert_gradient, gradients, values, varied};

#[test]
fn the_level_is_the_one_that_the_environment_selects() {
    let asked = std::env::var(ops::Level::VARIABLE).unwrap_or("auto".into());
    let wanted = match asked.as_str() {
        "auto" => ops::Level::supported()[0].name(),
        name => name,
    };
    assert_eq!(ops::Level::current().name(), wanted);
}

#[test]
fn the_references_have_the_gradients_of_finite_differences() {
    let layout = Ragged::from_lens(&[3, 0, 1, 2]);
    let (cos, sin) = tables(4, 4);
    let positions = layout.positions();
    let rotation = |head_dim| Rotation {
        tables: (&cos, &sin),
        positions: &positions,
        head_dim,
    };
    let x = |shape: &[usize], seed| varied(shape, seed, 1.0);
    let t = 1e-7;
    assert_gradient(
        "rms_norm",
        |x| reference::rms_norm(&x[0], &x[1], 1e-5),
        &[x(&[3, 5], 40), x(&[5], 41)],
        t,
    );
    for head_dim in [4, 6] {
        assert_gradient(
            &format!("rope of 4 of {head_dim}"),
            |x| reference::rope(&x[0], rotation(head_dim)),
            &[x(&[6, 2 * head_dim], 42)],
            t,
        );
    }
    assert_gradient(
        "swiglu",
        |x| reference::swiglu(&x[0], &x[1]),
        &[x(&[2, 5], 43), x(&[2, 5], 44)],
        t,
    );
    for window in [None, Some(2)] {
        let spec = AttentionSpec::new(2, 1, 4).with_window(window);
        assert_gradient(
            &format!("attention, window {window:?}"),
            |x| reference::causal_attention(&x[0], &x[1], &x[2], &layout, spec),
            &[x(&[6, 8], 45), x(&[6, 4], 46), x(&[6, 4], 47)],
            t,
        );
    }
    let w = x(&[4, 5], 48);
    assert_gradient(
        "frozen_linear",
        |x| ops::frozen_linear(&x[0], &w),
        &[x(&[3, 5], 49)],
        t,
    );
    assert_gradient(
        "lora_linear",
        |x| reference::lora_linear(&x[0], &x[1], &w, &x[2], &x[3], 0.7),
        &[
            x(&[3, 5], 50),
            x(&[3, 5], 51),
            x(&[2, 5], 52),
            x(&[4, 2], 53),
        ],
        t,
    );
    let (head, targets, temperature) = (x(&[7, 5], 54), targets(3, 7), temperatures(3));
    assert_gradient(
        "token_scores",
        |x| stacked(ops::token_scores(&x[0], &head, &targets, &temperature)?),
        &[x(&[3, 5], 55)],
        t,
    );
    assert_gradient(
        "token_scores_trainable",
        |x| reference::token_scores_trainable(&x[0], &x[1], &targets),
        &[x(&[3, 5], 56), x(&[7, 5], 57)],
        t,
    );
}

#[test]
fn views_that_are_not_contiguous_are_read_correctly() {
    let wide = f32s(&[12, 6], 64, 1.0);
    let x = wide.t().unwrap(); // [6, 12] with strides swapped
    let x = x.narrow(1, 2, 8).unwrap();
    let copy = x.copy().unwrap().contiguous().unwrap();
    let weight = f32s(&[8, 5], 65, 1.0);
    let (w, w_copy) = (
        weight.t().unwrap(),
        weight.t().unwrap().contiguous().unwrap(),
    );
    let check = |name: &str, f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
        assert_close(name, &f(&x, &w).unwrap(), &f(&copy, &w_copy).unwrap(), 0.0);
    };
    let gain = f32s(&[8], 66, 1.0);
    let (layout, targets) = (Ragged::from_lens(&[2, 4]), targets(6, 5));
    check("rms_norm", &|x, _| ops::rms_norm(x, &gain, 1e-5));
    check("swiglu", &|x, _| ops::swiglu(x, x));
    check("attention", &|x, _| {
        ops::causal_attention(x, x, x, &layout, AttentionSpec::new(2, 2, 4))
    });
    check("frozen_linear", &|x, w| ops::frozen_linear(x, w));
    check("token_scores", &|x, w| {
        Ok(ops::token_scores(x, w, &targets, &[1.0; 6])?.logp)
    });
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let (x, head) = (varied(&[90, 16], 67, 1.0), varied(&[1500, 16], 68, 1.0));
    let (layout, targets) = (Ragged::from_lens(&[40, 50]), targets(90, 1500));
    let run = || {
        let f = |p: &[Tensor]| {
            let x =
                ops::causal_attention(&p[0], &p[0], &p[0], &layout, AttentionSpec::new(2, 2, 8))?;
            ops::token_scores_trainable(&x, &p[1], &targets)
        };
        let (out, grads) = gradients(f, &[x.clone(), head.clone()], DType::F32).unwrap();
        [values(&out), values(&grads[0]), values(&grads[1])]
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

#[test]
fn wrong_shapes_are_errors() {
    let x = |shape: &[usize]| f32s(shape, 69, 1.0);
    let (cos, sin) = (x(&[4, 2]), x(&[4, 2]));
    let (layout, one_head) = (Ragged::from_lens(&[3]), AttentionSpec::new(1, 1, 4));
    let check = |wanted: &str, result: Result<Tensor>| {
        let message = result
            .map(|t| t.dims().to_vec())
            .expect_err(wanted)
            .to_string();
        assert!(message.contains(wanted), "{message}");
    };
    check("rms_norm", ops::rms_norm(&x(&[2, 4]), &x(&[5]), 1e-5));
    let rope = |width, head_dim, positions: &[u32]| {
        let tables = (&cos, &sin);
        let rotation = Rotation {
            tables,
            positions,
            head_dim,
        };
        ops::rope(&x(&[1, width]), rotation)
    };
    check("position 4 is beyond", rope(4, 4, &[4]));
    check("2 positions do not fit", rope(4, 4, &[0, 1]));
    check("rotate 4 numbers but a head has 3", rope(6, 3, &[0]));
    check(
        "width of 8 is not a multiple of the head width 6",
        rope(8, 6, &[0]),
    );
    check("swiglu", ops::swiglu(&x(&[2, 4]), &x(&[2, 5])));
    check(
        "causal_attention",
        ops::causal_attention(&x(&[4, 4]), &x(&[4, 4]), &x(&[4, 4]), &layout, one_head),
    );
    let blind = one_head.with_window(Some(0));
    check(
        "causal_attention: a window of 0 keys",
        ops::causal_attention(&x(&[3, 4]), &x(&[3, 4]), &x(&[3, 4]), &layout, blind),
    );
    check(
        "cached_attention: a window of 0 keys",
        ops::cached_attention(
            &x(&[1, 4]),
            &x(&[5, 4]),
            &x(&[5, 4]),
            &[vec![(3, 2)]],
            blind,
        ),
    );
    check("linear", ops::frozen_linear(&x(&[2, 4]), &x(&[3, 5])));
    check(
        "target 9",
        ops::token_scores(&x(&[1, 4]), &x(&[9, 4]), &[9], &[1.0]).map(|s| s.logp),
    );
    check(
        "cached_attention",
        ops::cached_attention(
            &x(&[1, 4]),
            &x(&[5, 4]),
            &x(&[5, 4]),
            &[vec![(3, 3)]],
            one_head,
        ),
    );
    check(
        "scatter_rows",
        ops::scatter_rows(&x(&[2, 4]), &[2], &x(&[1, 4]))
            .and_then(|()| Tensor::new(0f32, &Device::Cpu)),
    );
}
