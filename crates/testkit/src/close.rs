//! Comparisons that name the tensor and report the largest difference.

use candle_core::{DType, Tensor};

/// All values of a tensor in row-major order, as f64.
#[track_caller]
pub fn values(x: &Tensor) -> Vec<f64> {
    let flat = x.to_dtype(DType::F64).and_then(|x| x.flatten_all());
    flat.and_then(|x| x.to_vec1()).expect("a tensor of numbers")
}

/// Asserts the same shape, and every element within `tolerance · max(1, |wanted|)`.
#[track_caller]
pub fn assert_close(name: &str, found: &Tensor, wanted: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), wanted.dims(), "{name}: shape");
    assert_close_slices(name, &values(found), &values(wanted), tolerance);
}

/// [`assert_close`] for slices. A NaN is never close.
///
/// ```
/// testkit::assert_close_slices("logits", &[1.0, 200.0], &[1.0, 200.0001], 1e-6);
/// ```
///
/// ```should_panic
/// testkit::assert_close_slices("logits", &[1.0], &[1.1], 1e-6);
/// ```
#[track_caller]
pub fn assert_close_slices(name: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{name}: length");
    let error = |(f, w): (&f64, &f64)| (f - w).abs() / w.abs().max(1.0);
    let errors: Vec<f64> = found.iter().zip(wanted).map(error).collect();
    let nan = errors.iter().position(|e| e.is_nan());
    let worst = nan.or_else(|| (0..errors.len()).max_by(|a, b| errors[*a].total_cmp(&errors[*b])));
    if let Some(at) = worst {
        let close = errors[at] <= tolerance;
        assert!(
            close,
            "{name}[{at}]: {} is not {}, off by {:e} > {tolerance:e}",
            found[at], wanted[at], errors[at]
        );
    }
}
