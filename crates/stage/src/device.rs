//! `device = …` of a config.

use anyhow::{Context, Result, bail};
use candle_core::Device;

/// What `cpu`, `cuda` or `cuda:N` names, whether it is here or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Cpu,
    /// The card of this number
    Cuda(usize),
}

impl DeviceChoice {
    pub fn parse(text: &str) -> Result<Self> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number
            .map(Self::Cuda)
            .with_context(|| format!("device \"{text}\" is not known; it is cpu, cuda or cuda:N"))
    }

    pub fn is_cpu(self) -> bool {
        self == Self::Cpu
    }
}

/// Opens the device that `text` names.
pub fn device(text: &str) -> Result<Device> {
    let DeviceChoice::Cuda(number) = DeviceChoice::parse(text)? else {
        return Ok(Device::Cpu);
    };
    if !candle_core::utils::cuda_is_available() {
        bail!(
            "device \"{text}\": this binary was built without CUDA; build with --features cuda or set device = \"cpu\""
        );
    }
    Device::new_cuda(number).with_context(|| format!("device \"{text}\" cannot be used"))
}
