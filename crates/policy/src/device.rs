//! `device = …` of a config.

mod cuda_unavailable;

pub use cuda_unavailable::{cuda_unavailable_reason, usable_card};

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use ops::driver::{GpuMemory, machine};
use std::sync::Mutex;

/// Where a run computes, whether that is here or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Cpu,
    /// The card of this number
    Cuda(usize),
}

impl DeviceChoice {
    /// `auto` is the first card that can be used here, and the CPU where there is none.
    pub fn parse(text: &str) -> Result<Self> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "auto" => return Ok(usable_card(machine()).map_or(Self::Cpu, Self::Cuda)),
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

/// Opens the device that `text` names, and says which card it is, or why `auto` is the CPU.
pub fn device(text: &str) -> Result<Device> {
    match DeviceChoice::parse(text)? {
        DeviceChoice::Cpu => {
            if text == "auto" {
                let why = cuda_unavailable_reason(machine(), 0).unwrap_or_default();
                eprintln!("device: the CPU, since {why}");
            }
            Ok(Device::Cpu)
        }
        DeviceChoice::Cuda(number) => {
            if let Some(why) = cuda_unavailable_reason(machine(), number) {
                let advice = "set device = \"cpu\" to do without a card";
                return Err(anyhow!("device \"{text}\": {why}; {advice}"));
            }
            let device = card(number).with_context(|| format!("device \"{text}\""))?;
            if let (Some(memory), Some(machine)) = (ops::driver::memory(&device), machine()) {
                let (free, total) = (memory.free as f64 / 1e9, memory.total as f64 / 1e9);
                let name = &machine.gpus[number].name;
                eprintln!("device: card {number}, {name}, {free:.1} of {total:.1} GB free");
            }
            run::measure_peak_by(move || card_memory(number).map_or(0, |memory| memory.peak));
            Ok(device)
        }
    }
}

/// Bytes that this process could hold where it computes; None: unknown, since it is not here.
pub fn usable_bytes(choice: DeviceChoice) -> Option<u64> {
    match choice {
        DeviceChoice::Cpu => run::usable_memory_bytes(),
        DeviceChoice::Cuda(number) if cuda_unavailable_reason(machine(), number).is_none() => {
            card_memory(number).map(|memory| memory.free + memory.held)
        }
        DeviceChoice::Cuda(_) => None,
    }
}

fn card_memory(number: usize) -> Option<GpuMemory> {
    ops::driver::memory(&card(number).ok()?)
}

/// A card is opened once in a process.
fn card(number: usize) -> Result<Device> {
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
