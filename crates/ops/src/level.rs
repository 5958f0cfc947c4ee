//! The instruction set of the CPU kernels: the best that the machine has, or a lower one that the
//! environment variable [`Level::VARIABLE`] selects.

use std::fmt;
use std::sync::LazyLock;

/// An instruction set that the kernels are compiled for, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// AVX-512 F and DQ
    Avx512,
    /// AVX2 and FMA
    Avx2,
    /// The instruction set of the build target
    Portable,
}

static ASKED: LazyLock<Result<Level, String>> = LazyLock::new(|| {
    let wanted = std::env::var_os(Level::VARIABLE);
    let wanted = wanted.as_ref().map(|wanted| wanted.to_string_lossy());
    Level::chosen(wanted.as_deref(), &Level::supported())
});

static CURRENT: LazyLock<Level> = LazyLock::new(|| ASKED.clone().unwrap_or(Level::supported()[0]));

impl Level {
    /// The environment variable that selects a level by name; `auto` is as if unset. Read once.
    pub const VARIABLE: &str = "WICK_SIMD";

    /// The name of the level in the environment and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The levels that this machine supports, best first; the last is always `Portable`.
    pub fn supported() -> Vec<Self> {
        let mut supported = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                supported.push(Self::Avx512);
            }
            supported.push(Self::Avx2);
        }
        supported.push(Self::Portable);
        supported
    }

    /// The level that a value of [`Self::VARIABLE`] selects on a machine that supports the levels
    /// `supported`. An error is one line.
    pub fn chosen(wanted: Option<&str>, supported: &[Self]) -> Result<Self, String> {
        let (variable, wanted) = (Self::VARIABLE, wanted.unwrap_or("auto"));
        if wanted == "auto" {
            return Ok(supported[0]);
        }
        let all = [Self::Avx512, Self::Avx2, Self::Portable];
        let known = all.into_iter().find(|level| level.name() == wanted);
        let fit = supported
            .iter()
            .map(|level| level.name())
            .collect::<Vec<_>>();
        let what = match known {
            Some(level) if supported.contains(&level) => return Ok(level),
            Some(level) => format!("{level}: this CPU does not have it"),
            None => format!("{wanted:?} is not an instruction set"),
        };
        let fit = fit.join(", ");
        Err(format!(
            "{variable} = {what}; set it to one of auto, {fit}, or unset it"
        ))
    }

    /// f32 lanes of a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
        }
    }

    /// The level of this process: the one that the environment selects, or the best if that is not
    /// supported ([`prepare_process`](crate::prepare_process) reports it).
    #[inline]
    pub fn current() -> Self {
        *CURRENT
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fails with one line if the environment selects a level that this machine does not support.
pub(crate) fn check() -> Result<(), String> {
    ASKED.clone().map(drop)
}
