//! The members of the A-LoL family.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    ALol,
    Seq,
    RefFree,
    Kl,
    RLol,
    Wbc,
    RGold,
}

impl Variant {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "a_lol" => Self::ALol,
            "a_lol_seq" => Self::Seq,
            "a_lol_ref_free" => Self::RefFree,
            "a_lol_kl" => Self::Kl,
            "r_lol" => Self::RLol,
            "wbc" => Self::Wbc,
            _ => Self::RGold,
        }
    }

    /// Weighted by A = R − V_ref; otherwise by R.
    pub(super) fn by_advantage(self) -> bool {
        matches!(self, Self::ALol | Self::Seq | Self::RefFree | Self::Kl)
    }

    /// Has a clipped importance weight.
    pub(super) fn clips(self) -> bool {
        matches!(self, Self::ALol | Self::Seq | Self::RLol)
    }
}
