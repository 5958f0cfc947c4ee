//! RLOO's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, ensure};
use crate::error::Result;
use crate::response_reward::ResponseReward;
use crate::settings::{self, MethodConfig};
use crate::shared_config::{ScoreShaping, Updates};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// Advantages to mean 0, variance 1 over the responses of the batch
    pub normalise_advantages: bool,
    /// The ratio of a whole response is clipped to 1 ± this; 0 = off
    pub clip: f64,
    /// Weight of the response's summed k1 KL, subtracted from its score
    pub kl_coef: f64,
    #[serde(flatten)]
    pub score: ScoreShaping,
    #[serde(flatten)]
    pub updates: Updates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 4,
            normalise_advantages: false,
            clip: 0.2,
            kl_coef: 0.05,
            score: ScoreShaping::default(),
            updates: Updates::default(),
        }
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        settings::read::<ScoreShaping>(table)?;
        settings::read::<Updates>(table)?;
        settings::read(table)
    }

    fn check(&self) -> Result<()> {
        at_least("samples", self.samples, 2)?;
        ensure(
            (0.0..1.0).contains(&self.clip),
            "clip",
            self.clip,
            "0 (off) or a number below 1",
        )?;
        self.updates.check("")?;
        self.reward().check()
    }
}

impl Config {
    pub(super) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: self.kl_coef,
            score: self.score,
        }
    }
}
