//! A scalar head over hidden states: the reward of a reward model, the value of a critic.

use crate::parameter::{Parameter, normal};
use crate::safetensors_file::{read_tensors, write_tensors};
use crate::{Error, Result};
use candle_core::{DType, Device, Result as CResult, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// `weight` `[1, d]` and `bias` `[1]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
///
/// let head = models::ScalarHead::init(4, 0.1, 7, &Device::Cpu)?;
/// let hidden = Tensor::ones((3, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(head.apply(&hidden)?.dims(), [3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScalarHead {
    weight: Parameter,
    bias: Parameter,
}

impl ScalarHead {
    /// Weight N(0, std²), bias 0. Frozen.
    pub fn init(hidden_size: usize, std: f64, seed: u64, device: &Device) -> CResult<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Ok(Self {
            weight: Parameter::Frozen(normal(&[1, hidden_size], std, &mut rng, device)?),
            bias: Parameter::Frozen(Tensor::zeros(1, DType::F32, device)?),
        })
    }

    /// Weight and bias 0. Frozen.
    pub fn zeros(hidden_size: usize, device: &Device) -> CResult<Self> {
        Ok(Self {
            weight: Parameter::Frozen(Tensor::zeros((1, hidden_size), DType::F32, device)?),
            bias: Parameter::Frozen(Tensor::zeros(1, DType::F32, device)?),
        })
    }

    /// `[M, d]` -> `[M]`, f32.
    pub fn apply(&self, hidden: &Tensor) -> CResult<Tensor> {
        hidden
            .to_dtype(DType::F32)?
            .matmul(&self.weight.tensor().t()?)?
            .squeeze(1)?
            .broadcast_add(self.bias.tensor())
    }

    /// A trainable copy with its own variables.
    pub fn trainable(&self) -> CResult<Self> {
        Ok(Self {
            weight: self.weight.trainable()?,
            bias: self.bias.trainable()?,
        })
    }

    /// A frozen view of the same numbers.
    pub fn frozen(&self) -> Self {
        Self {
            weight: self.weight.frozen(),
            bias: self.bias.frozen(),
        }
    }

    /// Trainable parameters, `weight` and `bias`; empty when frozen.
    pub fn vars(&self) -> Vec<(String, Var)> {
        [("weight", &self.weight), ("bias", &self.bias)]
            .into_iter()
            .filter_map(|(name, p)| Some((name.to_string(), p.var()?.clone())))
            .collect()
    }

    /// Writes a safetensors file with `weight` and `bias`, f32.
    pub fn save(&self, file: &Path) -> Result<()> {
        write_tensors(
            file,
            &[
                ("weight".into(), self.weight.tensor().clone()),
                ("bias".into(), self.bias.tensor().clone()),
            ],
            &[],
        )
    }

    /// Reads a frozen head. The file must hold both tensors in the right shapes, and nothing else.
    pub fn load(file: &Path, hidden_size: usize, device: &Device) -> Result<Self> {
        let mut tensors = read_tensors(file, device)?;
        let mut take = |name: &str, shape: &[usize]| {
            let tensor = tensors.remove(name).ok_or_else(|| {
                Error::at(file, format!("tensor {name} is missing: not a scalar head"))
            })?;
            if tensor.dims() != shape {
                return Err(Error::at(
                    file,
                    format!(
                        "tensor {name} is {:?}, the model needs {shape:?}",
                        tensor.dims()
                    ),
                ));
            }
            Ok(Parameter::Frozen(tensor))
        };
        let head = Self {
            weight: take("weight", &[1, hidden_size])?,
            bias: take("bias", &[1])?,
        };
        match tensors.keys().min() {
            Some(extra) => Err(Error::at(file, format!("unexpected tensor {extra}"))),
            None => Ok(head),
        }
    }
}
