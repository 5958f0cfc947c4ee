//! What the CUDA driver reports, as plain data.

/// A machine as a binary with CUDA kernels sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub needs: Needs,
    /// The newest CUDA version that the driver supports, 1000 × major + 10 × minor. `None`: no
    /// driver.
    pub driver: Option<u32>,
    /// Why the driver could not be initialised.
    pub refusal: Option<String>,
    pub gpus: Vec<Gpu>,
    /// Library files that were not found. They are looked for only if there is a GPU.
    pub missing: Vec<String>,
}

/// What the kernels of this binary require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// CUDA version of the compiler, in the form of [`Machine::driver`].
    pub cuda: u32,
    /// Compute capability, 10 × major + minor.
    pub capability: u32,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// In the form of [`Needs::capability`].
    pub capability: u32,
    pub total_bytes: u64,
}

/// Memory of a GPU, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuMemory {
    /// Free for any process.
    pub free: u64,
    pub total: u64,
    /// Held by the tensors of this process, with gaps of the allocator and without the CUDA
    /// context.
    pub held: u64,
    /// The largest `held` so far.
    pub peak: u64,
}

impl Needs {
    /// Reads them from PTX: `.version` is the compiler's, `.target` the oldest architecture that it
    /// runs on.
    pub fn of_ptx(ptx: &str) -> Option<Self> {
        let word = |start: &str| ptx.lines().find_map(|line| line.trim().strip_prefix(start));
        let (major, minor) = word(".version ")?.trim().split_once('.')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        // PTX 8 came with CUDA 12 and PTX 9 with CUDA 13; CUDA 12.6 has PTX 8.5, as 12.5 does
        let minor = minor + u32::from(major == 8 && minor > 5);
        let target = word(".target sm_")?;
        let digits = target.find(|c: char| !c.is_ascii_digit());
        Some(Self {
            cuda: (major + 4) * 1000 + minor * 10,
            capability: target[..digits.unwrap_or(target.len())].parse().ok()?,
        })
    }
}
