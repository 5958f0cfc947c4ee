//! Scalar heads by hand.

use super::CPU;
use candle_core::Tensor;
use models::ScalarHead;
use std::collections::HashMap;
use testkit::values;

#[test]
fn a_scalar_head_computes_trains_and_round_trips() {
    let head = ScalarHead::init(4, 0.5, 3, CPU)
        .unwrap()
        .trainable()
        .unwrap();
    let vars: HashMap<_, _> = head.vars().into_iter().collect();
    vars["bias"]
        .set(&Tensor::new(&[0.25f32], CPU).unwrap())
        .unwrap();
    let w = values(vars["weight"].as_tensor());
    let x = Tensor::new(&[[1f32, 2., 3., 4.], [0., -1., 0.5, 2.]], CPU).unwrap();
    let dot = |row: [f64; 4]| row.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>() + 0.25;
    let wanted = [dot([1., 2., 3., 4.]), dot([0., -1., 0.5, 2.])];
    let found = head.apply(&x).unwrap();
    testkit::assert_close_slices("scores", &values(&found), &wanted, 1e-6);
    let grads = found.sum_all().unwrap().backward().unwrap();
    assert_eq!(
        values(grads.get(vars["weight"].as_tensor()).unwrap()),
        [1., 1., 3.5, 6.]
    );
    assert_eq!(values(grads.get(vars["bias"].as_tensor()).unwrap()), [2.]);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("head.safetensors");
    head.save(&file).unwrap();
    let again = ScalarHead::load(&file, 4, CPU).unwrap();
    assert!(again.vars().is_empty());
    assert_eq!(values(&again.apply(&x).unwrap()), values(&found));
    let error = ScalarHead::load(&file, 8, CPU).unwrap_err().to_string();
    assert!(
        error.contains("head.safetensors: tensor weight is [1, 4]"),
        "{error}"
    );
    let zero = ScalarHead::zeros(4, CPU).unwrap();
    assert_eq!(values(&zero.apply(&x).unwrap()), [0., 0.]);
}
