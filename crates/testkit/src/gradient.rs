//! Checks of gradients, against another form of the operation and against finite differences.

use crate::{assert_close, assert_close_slices, values};
use candle_core::{DType, Device, Result, Tensor, Var};

/// Pseudo-random f64 numbers within ±1.7 · `scale`, the same for the same `seed`.
pub fn varied(shape: &[usize], seed: u64, scale: f64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 3.4 * scale
    };
    let n = shape.iter().product();
    let data: Vec<f64> = (0..n).map(|_| next()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).expect("shape")
}

/// The result of `f` in `dtype`, and the gradient of Σ weight∘result for every input. An input that
/// gets no gradient has zeros.
pub fn gradients(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    dtype: DType,
) -> Result<(Tensor, Vec<Tensor>)> {
    let vars = inputs
        .iter()
        .map(|x| Var::from_tensor(&x.to_dtype(dtype)?))
        .collect::<Result<Vec<_>>>()?;
    let args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let out = f(&args)?;
    let grads = weighted(&out)?.backward()?;
    let of = |v: &Var| match grads.get(v) {
        Some(g) => Ok(g.clone()),
        None => v.zeros_like(),
    };
    Ok((out.detach(), vars.iter().map(of).collect::<Result<_>>()?))
}

/// Σ weight∘out, with a different weight for each element.
fn weighted(out: &Tensor) -> Result<Tensor> {
    let weight = varied(out.dims(), 77, 1.0).to_dtype(out.dtype())?;
    (out * weight)?.sum_all()
}

/// Asserts that `fused` in f32 has the results and gradients of `plain` in f64.
#[track_caller]
pub fn assert_same(
    name: &str,
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    tolerance: f64,
) {
    let (found, found_grads) = gradients(fused, inputs, DType::F32).expect(name);
    let (wanted, wanted_grads) = gradients(plain, inputs, DType::F64).expect(name);
    assert_close(name, &found, &wanted, tolerance);
    for (i, (found, wanted)) in found_grads.iter().zip(&wanted_grads).enumerate() {
        assert_close(&format!("{name}: gradient {i}"), found, wanted, tolerance);
    }
}

/// Asserts that the gradients of `f` in f64 equal central differences.
#[track_caller]
pub fn assert_gradient(
    name: &str,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    tolerance: f64,
) {
    const STEP: f64 = 1e-5;
    let (_, grads) = gradients(&f, inputs, DType::F64).expect(name);
    for (i, input) in inputs.iter().enumerate() {
        let flat = values(input);
        let at = |j: usize, by: f64| -> Result<f64> {
            let mut moved = flat.clone();
            moved[j] += by;
            let mut inputs = inputs.to_vec();
            inputs[i] = Tensor::from_vec(moved, input.shape(), input.device())?;
            weighted(&f(&inputs)?)?.to_scalar::<f64>()
        };
        let slope = |j| Ok((at(j, STEP)? - at(j, -STEP)?) / (2.0 * STEP));
        let wanted: Result<Vec<f64>> = (0..flat.len()).map(slope).collect();
        let name = format!("{name}: gradient {i}");
        assert_close_slices(&name, &values(&grads[i]), &wanted.expect(&name), tolerance);
    }
}
