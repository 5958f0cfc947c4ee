//! `device = …` of a config: where a run computes.

use crate::cuda_unavailable::{cuda_unavailable_reason, first_usable_gpu};
use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::Device;
use ops::Compute;
use ops::driver::{GpuMemory, machine};
use std::sync::Mutex;

/// Where a run computes, whether this machine has it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Cpu,
    /// The GPU of this number
    Cuda(usize),
}

/// The default of `device`.
pub fn default_device() -> String {
    "cpu".into()
}

/// Refuses a `compute` that the device does not have.
pub fn check_compute(compute: Compute, device: &str) -> Result<()> {
    ensure!(
        compute == Compute::F32 || device == "cpu",
        "compute = \"int16\" works on the CPU, and device = \"{device}\"; leave one of them out"
    );
    Ok(())
}

impl DeviceChoice {
    /// Parses the value of the setting. `auto` is the first usable GPU, or the CPU where there is
    /// none.
    ///
    /// ```
    /// use policy::DeviceChoice;
    /// assert_eq!(DeviceChoice::parse("cuda:3").unwrap(), DeviceChoice::Cuda(3));
    /// assert!(DeviceChoice::parse("cpu").unwrap().is_cpu());
    /// assert!(DeviceChoice::parse("tpu").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "auto" => return Ok(first_usable_gpu(machine()).map_or(Self::Cpu, Self::Cuda)),
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number.map(Self::Cuda).with_context(|| {
            format!("device \"{text}\" is not known; it is cpu, cuda, cuda:N or auto")
        })
    }

    pub fn is_cpu(self) -> bool {
        self == Self::Cpu
    }
}

/// Opens the device that `text` names. Prints to stderr which GPU it is, or why `auto` is the CPU.
pub fn device(text: &str) -> Result<Device> {
    let number = match DeviceChoice::parse(text)? {
        DeviceChoice::Cuda(number) => number,
        DeviceChoice::Cpu => {
            if text == "auto" {
                let why = cuda_unavailable_reason(machine(), 0).unwrap_or_default();
                run::say!("device: CPU, because {why}");
            }
            return Ok(Device::Cpu);
        }
    };
    if let Some(why) = cuda_unavailable_reason(machine(), number) {
        bail!("device \"{text}\": {why}; set device = \"cpu\" to run without a GPU");
    }
    let device = open_gpu(number).with_context(|| format!("device \"{text}\""))?;
    if let (Some(memory), Some(machine)) = (ops::driver::memory(&device), machine()) {
        let (free, total) = (memory.free as f64 / 1e9, memory.total as f64 / 1e9);
        let name = &machine.gpus[number].name;
        run::say!("device: GPU {number}, {name}, {free:.1} of {total:.1} GB free");
    }
    run::measure_peak_by(move || gpu_memory(number).map_or(0, |memory| memory.peak));
    Ok(device)
}

/// Bytes that this process can use on the device. None: unknown, since this machine lacks it.
pub fn usable_bytes(choice: DeviceChoice) -> Option<u64> {
    match choice {
        DeviceChoice::Cpu => run::usable_memory_bytes(),
        DeviceChoice::Cuda(number) if cuda_unavailable_reason(machine(), number).is_none() => {
            gpu_memory(number).map(|memory| memory.free + memory.held)
        }
        DeviceChoice::Cuda(_) => None,
    }
}

fn gpu_memory(number: usize) -> Option<GpuMemory> {
    ops::driver::memory(&open_gpu(number).ok()?)
}

/// Opens a GPU once in a process.
fn open_gpu(number: usize) -> Result<Device> {
    static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock().map_err(|e| anyhow!("{e}"))?;
    if let Some((_, device)) = open.iter().find(|(n, _)| *n == number) {
        return Ok(device.clone());
    }
    let device = Device::new_cuda(number)?;
    ops::driver::prepare(&device);
    open.push((number, device.clone()));
    Ok(device)
}
