//! `ln(1 + eˣ)`, which is −ln σ(−x): the loss of a pair.

use candle_core::{Result, Tensor};

/// `ln(1 + eˣ)` of each element, stable at both ends, with the gradient σ(x) everywhere. The usual
/// form by `relu` and `abs` has none of it at 0, which is where equal scores are.
///
/// ```
/// use candle_core::{Device, Var};
/// let x = Var::new(&[0f32, 200., -200.], &Device::Cpu)?;
/// let y = ops::softplus(&x)?;
/// assert_eq!(y.to_vec1::<f32>()?, [2f32.ln(), 200., 0.]);
/// let slope = y.sum_all()?.backward()?.get(&x).unwrap().to_vec1::<f32>()?;
/// assert_eq!(slope, [0.5, 1., 0.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    // ln(1 + eˣ) = m + ln(e⁻ᵐ + eˣ⁻ᵐ) for every m; max(x, 0) makes both exponents at most 0.
    let m = x.detach().relu()?;
    let sum = (m.neg()?.exp()? + (x - &m)?.exp()?)?;
    m + sum.log()?
}
