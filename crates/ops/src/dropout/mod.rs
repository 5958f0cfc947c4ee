//! Dropout: a mask of constants on the CPU, a kernel that draws its mask twice on a GPU.

mod cuda;
mod mask;

pub use mask::masked;

use candle_core::{Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Zeroes each element of `x` with probability `p` and multiplies the others by 1 / (1 - p).
/// Gradient to `x`.
///
/// The random stream is (`seed`, `module`): ChaCha8 on the CPU, where the mask is kept for the
/// gradient; Philox4x32-10 on a GPU, where it is drawn again. The two draw different masks.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones((2, 50), DType::F32, &Device::Cpu)?;
/// let y = ops::dropout(&x, 0.5, 7, 0)?.flatten_all()?.to_vec1::<f32>()?;
/// assert!(y.iter().all(|y| *y == 0.0 || *y == 2.0));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dropout(x: &Tensor, p: f64, seed: u64, module: u32) -> Result<Tensor> {
    if crate::cuda::supports(&[x]) {
        return cuda::dropout(x, p, seed, module);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(module.into());
    let scale = (1.0 / (1.0 - p)) as f32;
    let threshold = (p * 2f64.powi(32)) as u32;
    let mask: Vec<f32> = (0..x.elem_count())
        .map(|_| match rng.random::<u32>() < threshold {
            true => 0.0,
            false => scale,
        })
        .collect();
    masked(x, mask)
}
