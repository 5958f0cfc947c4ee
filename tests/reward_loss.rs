//! The reward model's loss and accuracy of a pair, at the values where they could go wrong.

use candle_core::{Device, Tensor, Var};
use reward_model::{neg_log_sigmoid, ranked_right};
use testkit::assert_close_slices;

/// `-log σ(m)` and its slope `-σ(-m)`: ln 2 at 0, next to nothing at 50, `-m` at -50.
#[test]
fn the_loss_of_a_pair_has_these_values_and_slopes() {
    let margins = [0.0f32, 50.0, -50.0, 1.0, -1.0, 200.0, -200.0];
    let margin = Var::from_tensor(&Tensor::new(&margins, &Device::Cpu).unwrap()).unwrap();
    let loss = neg_log_sigmoid(&margin).unwrap();
    let values = |tensor: &Tensor| -> Vec<f64> {
        let values = tensor.to_vec1::<f32>().unwrap();
        values.into_iter().map(f64::from).collect()
    };
    let (e50, e200) = ((-50f64).exp(), (-200f64).exp());
    let wanted = [
        2f64.ln(),
        e50,
        50.0,
        0.313_261_687_5,
        1.313_261_687_5,
        e200,
        200.0,
    ];
    assert_close_slices("loss", &values(&loss), &wanted, 1e-6);
    let gradients = loss.sum_all().unwrap().backward().unwrap();
    let wanted = [
        -0.5,
        -e50,
        -1.0,
        -0.268_941_421_4,
        -0.731_058_578_6,
        -e200,
        -1.0,
    ];
    assert_close_slices(
        "slope",
        &values(gradients.get(&margin).unwrap()),
        &wanted,
        1e-6,
    );
}

#[test]
fn a_tie_counts_half() {
    for (margin, expected) in [
        (0.0, 0.5),
        (-0.0, 0.5),
        (f32::MIN_POSITIVE, 1.0),
        (-f32::MIN_POSITIVE, 0.0),
        (50.0, 1.0),
        (-50.0, 0.0),
        (f32::NAN, 0.0),
    ] {
        assert_eq!(ranked_right(margin), expected, "{margin}");
    }
}
