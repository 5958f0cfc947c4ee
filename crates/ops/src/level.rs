//! The instruction set that the kernels of this process use: the best that the machine has, or a lower one that
//! [`Level::VARIABLE`] asks for.

use std::fmt;
use std::sync::LazyLock;

/// An instruction set that the kernels have a form for, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// AVX-512 F and DQ
    Avx512,
    /// AVX2 and FMA
    Avx2,
    /// What the build's target has
    Portable,
}

static ASKED: LazyLock<Result<Level, String>> = LazyLock::new(|| {
    let wanted = std::env::var_os(Level::VARIABLE);
    let wanted = wanted.as_ref().map(|wanted| wanted.to_string_lossy());
    Level::chosen(wanted.as_deref(), &Level::here())
});

static CURRENT: LazyLock<Level> = LazyLock::new(|| ASKED.clone().unwrap_or(Level::here()[0]));

impl Level {
    /// The variable of the environment that lowers the level: `auto` (as if unset), or a level's name. Read once.
    pub const VARIABLE: &str = "WICK_SIMD";

    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Those that this machine has, best first; `Portable` is always the last.
    pub fn here() -> Vec<Self> {
        let mut here = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                here.push(Self::Avx512);
            }
            here.push(Self::Avx2);
        }
        here.push(Self::Portable);
        here
    }

    /// The level that a value of [`Self::VARIABLE`] asks of a machine that has the levels `here`; an error is one line.
    pub fn chosen(wanted: Option<&str>, here: &[Self]) -> Result<Self, String> {
        let (variable, wanted) = (Self::VARIABLE, wanted.unwrap_or("auto"));
        if wanted == "auto" {
            return Ok(here[0]);
        }
        let all = [Self::Avx512, Self::Avx2, Self::Portable];
        let known = all.into_iter().find(|level| level.name() == wanted);
        let fit = here.iter().map(|level| level.name()).collect::<Vec<_>>();
        let what = match known {
            Some(level) if here.contains(&level) => return Ok(level),
            Some(level) => format!("{level}: this CPU does not have it"),
            None => format!("{wanted:?} is not an instruction set"),
        };
        let fit = fit.join(", ");
        Err(format!(
            "{variable} = {what}; give one of auto, {fit}, or unset it"
        ))
    }

    /// f32 lanes of a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
        }
    }

    /// The level of this process: what its environment asks for. Where that is refused ([`prepare_process`](crate::prepare_process)) it is the best.
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

/// Whether the environment asks for a level that this machine has; the error is one line.
pub(crate) fn check() -> Result<(), String> {
    ASKED.clone().map(drop)
}
