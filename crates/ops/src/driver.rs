//! What the machine's driver says of itself, its cards and their memory, as plain data: who opens a device decides by it.
//! Without `--features cuda` there is nothing to ask.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod libraries;

/// A machine as a binary with kernels for cards sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub needs: Needs,
    /// The newest CUDA that the driver runs, 1000 × major + 10 × minor; None: no driver
    pub driver: Option<u32>,
    /// Why the driver could not be started
    pub refusal: Option<String>,
    pub cards: Vec<Card>,
    /// Files of libraries that are not here; looked for where there is a card
    pub missing: Vec<String>,
}

/// What this binary's kernels ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// CUDA of the compiler, as `Machine::driver` counts
    pub cuda: u32,
    /// Compute capability, 10 × major + minor
    pub capability: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub name: String,
    /// As in `Needs`
    pub capability: u32,
    pub total_bytes: u64,
}

/// Bytes of a card's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardMemory {
    /// By whoever asks for it first
    pub free: u64,
    pub total: u64,
    /// By this process' tensors, gaps of the allocator included and the context left out
    pub held: u64,
    /// The most of that so far
    pub peak: u64,
}

impl Needs {
    /// Read off assembler text for cards (PTX): `.version` is the compiler's, `.target` the oldest card that it runs on.
    pub fn of_ptx(ptx: &str) -> Option<Self> {
        let word = |start: &str| ptx.lines().find_map(|line| line.trim().strip_prefix(start));
        let (major, minor) = word(".version ")?.trim().split_once('.')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        // PTX 8 came with CUDA 12, 9 with 13; CUDA 12.6 has PTX 8.5 as 12.5 had
        let minor = minor + u32::from(major == 8 && minor > 5);
        let target = word(".target sm_")?;
        let digits = target.find(|c: char| !c.is_ascii_digit());
        Some(Self {
            cuda: (major + 4) * 1000 + minor * 10,
            capability: target[..digits.unwrap_or(target.len())].parse().ok()?,
        })
    }
}

/// Asks the driver, once in a process. None: this binary has no kernels for cards.
pub fn machine() -> Option<&'static Machine> {
    #[cfg(feature = "cuda")]
    {
        static MACHINE: std::sync::OnceLock<Machine> = std::sync::OnceLock::new();
        Some(MACHINE.get_or_init(cuda::machine))
    }
    #[cfg(not(feature = "cuda"))]
    None
}

/// Settles, once for the card that `device` is, what the driver leaves to be chosen: memory that is given back stays in the pool that tensors come
/// from (else it goes to the driver at each synchronisation, which every token drawn is one of), and cuBLAS adds up parts of a sum in f32.
pub fn prepare(device: &candle_core::Device) {
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = device {
        cuda::prepare(device);
    }
    let _ = device;
}

/// Of the card that `device` is, in this moment.
pub fn memory(device: &candle_core::Device) -> Option<CardMemory> {
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = device {
        return cuda::memory(device);
    }
    let _ = device;
    None
}
