//! Gradients summed over micro-batches, their global norm, and clipping.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, Var, backprop::GradStore};

/// Sums of gradients over micro-batches, f32, in parameter order. Holds no graph.
pub struct Gradients {
    params: Vec<(String, Var)>,
    sums: Vec<Option<Tensor>>,
}

impl Gradients {
    /// Nothing added yet.
    pub fn zeros(params: &[(String, Var)]) -> Self {
        Self {
            params: params.to_vec(),
            sums: vec![None; params.len()],
        }
    }

    /// Appends another set of parameters with their sums.
    pub fn extend(&mut self, other: Self) {
        self.params.extend(other.params);
        self.sums.extend(other.sums);
    }

    /// Adds the gradients of one `backward()`. A parameter that the loss did not reach adds
    /// nothing.
    pub fn add(&mut self, grads: &GradStore) -> Result<()> {
        for ((_, var), sum) in self.params.iter().zip(&mut self.sums) {
            if let Some(grad) = grads.get(var.as_tensor()) {
                let grad = grad.detach().to_dtype(DType::F32)?;
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + grad)?,
                    None => grad,
                });
            }
        }
        Ok(())
    }

    /// The global L2 norm, and the name of the first parameter whose gradient is not finite.
    pub fn norm(&self) -> Result<(f64, Option<String>)> {
        let with_name = self.params.iter().zip(&self.sums);
        let reached = with_name.filter_map(|((name, _), sum)| Some((name, sum.as_ref()?)));
        let (names, grads): (Vec<_>, Vec<_>) = reached.unzip();
        let sums = sums_of_squares(&grads)?;
        let bad = sums.iter().position(|sum| !sum.is_finite());
        let norm = sums.iter().sum::<f64>().sqrt();
        Ok((norm, bad.map(|at| names[at].clone())))
    }

    /// The summed gradient of a parameter. None: no loss reached it.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        let at = self.params.iter().position(|(n, _)| n == name)?;
        self.sums[at].as_ref()
    }

    /// Names of the parameters that no loss reached.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let pairs = self.params.iter().zip(&self.sums);
        pairs
            .filter(|(_, sum)| sum.is_none())
            .map(|((name, _), _)| name.as_str())
    }
}

/// The factor that scales gradients of global norm `norm` to at most `max_norm` (0 = no limit), as
/// PyTorch's `clip_grad_norm_`.
///
/// ```
/// assert_eq!(train::clip_scale(0.5, 1.0), 1.0);
/// assert!((train::clip_scale(4.0, 1.0) - 0.25).abs() < 1e-6);
/// assert_eq!(train::clip_scale(4.0, 0.0), 1.0);
/// ```
pub fn clip_scale(norm: f64, max_norm: f64) -> f64 {
    if max_norm <= 0.0 {
        return 1.0;
    }
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// The sum of squares of each tensor, accumulated in f64 where all are f32 on the CPU. From a GPU
/// they come in one transfer. Not finite exactly when an element is not (f64 cannot overflow here).
pub(crate) fn sums_of_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let on_cpu: Vec<Option<f64>> = tensors.iter().map(|x| of_cpu(x)).collect::<Result<_>>()?;
    let on_cpu: Option<Vec<f64>> = on_cpu.into_iter().collect();
    if let Some(sums) = on_cpu {
        return Ok(sums);
    }
    let sum = |x: &&Tensor| x.to_dtype(DType::F32)?.sqr()?.sum_all();
    let sums: Vec<Tensor> = tensors.iter().map(sum).collect::<Result<_>>()?;
    let sums: Vec<f32> = Tensor::stack(&sums, 0)?.to_vec1()?;
    Ok(sums.into_iter().map(f64::from).collect())
}

/// None: not f32 on the CPU.
fn of_cpu(x: &Tensor) -> Result<Option<f64>> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(data)) = &*storage else {
        return Ok(None);
    };
    let start = layout.start_offset();
    let data = &data[start..start + layout.shape().elem_count()];
    Ok(Some(
        data.iter().map(|&v| f64::from(v) * f64::from(v)).sum(),
    ))
}
