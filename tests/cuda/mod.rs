//! The CUDA kernels, run in main memory by the emulator, against the references in f64.

mod attention;
mod kernels;
mod model;

use candle_core::{DType, Result, Tensor};
use ops::cuda::emulated;
use std::ffi::{c_char, c_int, c_uint, c_void};
use testkit::{gradients, values};

#[allow(unsafe_code, reason = "the emulator is C++")]
unsafe extern "C" {
    fn wick_emulate(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        shared: c_uint,
        args: *mut *mut c_void,
        backwards: c_int,
    ) -> c_int;
}

/// Dtypes with the relative error of results and gradients: a few roundings of the result.
/// `tests/ops` checks the references against finite differences.
pub const DTYPES: [(DType, f64); 2] = [(DType::F32, 2e-6), (DType::BF16, 4e-3)];

/// Runs `f` on the emulated GPU.
pub fn on_emulated_gpu<R>(backwards: bool, f: impl FnOnce() -> R) -> R {
    emulated(wick_emulate, backwards, f)
}

/// Asserts that `kernel` over inputs rounded to `dtype` gives the results and gradients of `plain`
/// in f64 over the same numbers: the RMS of the difference is at most `tolerance` times the RMS of
/// the wanted numbers, and no single difference exceeds ten times that. Threads and thread blocks
/// run in both orders.
#[track_caller]
pub fn assert_kernel(
    name: &str,
    dtype: DType,
    kernel: impl Fn(&[Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    tolerance: f64,
) {
    let rounded: Vec<Tensor> = inputs
        .iter()
        .map(|x| x.to_dtype(dtype).unwrap().to_dtype(DType::F64).unwrap())
        .collect();
    let (wanted, wanted_grads) = gradients(plain, &rounded, DType::F64).expect(name);
    let mut first = None;
    for backwards in [false, true] {
        let run = || gradients(&kernel, &rounded, dtype);
        let (found, found_grads) = on_emulated_gpu(backwards, run).expect(name);
        assert_eq!(found.dtype(), dtype, "{name}: the dtype of the result");
        assert_near(name, &found, &wanted, tolerance);
        for (i, (found, wanted)) in found_grads.iter().zip(&wanted_grads).enumerate() {
            assert_near(&format!("{name}: gradient {i}"), found, wanted, tolerance);
        }
        let all: Vec<Vec<f64>> = std::iter::once(&found)
            .chain(&found_grads)
            .map(values)
            .collect();
        match &first {
            None => first = Some(all),
            Some(first) => assert_eq!(first, &all, "{name}: depends on the order of threads"),
        }
    }
}

/// Asserts the tolerance of [`assert_kernel`] for one tensor.
#[track_caller]
pub fn assert_near(name: &str, found: &Tensor, wanted: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), wanted.dims(), "{name}: shape");
    let (found, wanted) = (values(found), values(wanted));
    if wanted.is_empty() {
        return;
    }
    let rms = |x: &mut dyn Iterator<Item = f64>| {
        (x.map(|x| x * x).sum::<f64>() / wanted.len() as f64).sqrt()
    };
    let scale = rms(&mut wanted.iter().copied()).max(1e-6);
    let off = rms(&mut found.iter().zip(&wanted).map(|(a, b)| a - b));
    assert!(
        off <= tolerance * scale,
        "{name}: off by {off:.3e}, of numbers of {scale:.3e}"
    );
    for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
        let most = 10.0 * tolerance * scale.max(b.abs());
        assert!((a - b).abs() <= most, "{name}: {a} at {i}, not {b}");
    }
}
