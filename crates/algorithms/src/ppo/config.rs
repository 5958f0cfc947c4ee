//! PPO's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, between_zero_and_one, ensure, fraction, not_negative, positive};
use crate::error::Result;
use crate::estimators::kl::{Controller, Estimator};
use crate::settings::{self, MethodConfig, Unused, unused_where};
use crate::shared_config::{ScoreShaping, Updates};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// Weight of the KL penalty in the reward
    pub kl_coef: f64,
    /// `fixed`, or `adaptive` towards `kl_target`
    pub kl_controller: Controller,
    /// Nats per response that the adaptive controller steers to
    pub kl_target: f64,
    /// Responses over which it corrects; smaller is faster
    pub kl_horizon: f64,
    /// `k1`, `k2`, `k3`, `abs`, `positive`
    pub kl_estimator: Estimator,
    #[serde(flatten)]
    pub score: ScoreShaping,
    /// Scale per-token rewards to variance 1 over the batch, mean kept
    pub whiten_rewards: bool,
    /// Advantages to mean 0, variance 1 over the tokens of the batch
    pub whiten_advantages: bool,
    /// Discount
    pub gamma: f64,
    /// GAE's λ
    pub lam: f64,
    /// The ratio is clipped to 1 ± this
    pub clip: f64,
    /// Bound of the loss where the advantage is negative, as a multiple of it; 0 = off
    pub dual_clip: f64,
    /// The value is clipped to its old one ± this; 0 = off
    pub value_clip: f64,
    /// Weight of the value loss
    pub vf_coef: f64,
    /// Weight of an entropy bonus
    pub entropy_coef: f64,
    #[serde(flatten)]
    pub updates: Updates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 1,
            kl_coef: 0.05,
            kl_controller: Controller::Fixed,
            kl_target: 6.0,
            kl_horizon: 10_000.0,
            kl_estimator: Estimator::K1,
            score: ScoreShaping::default(),
            whiten_rewards: false,
            whiten_advantages: true,
            gamma: 1.0,
            lam: 0.95,
            clip: 0.2,
            dual_clip: 0.0,
            value_clip: 0.2,
            vf_coef: 0.1,
            entropy_coef: 0.0,
            updates: Updates {
                epochs: 4,
                minibatches: 1,
            },
        }
    }
}

impl Config {
    /// The settings of ESRL's release (docs/methods/esrl.md): one-sided KL, scores clipped to ±10,
    /// rewards whitened.
    pub(crate) fn deepspeed() -> Self {
        Self {
            kl_coef: 0.1,
            kl_estimator: Estimator::Positive,
            score: ScoreShaping {
                score_clip: 10.0,
                eos_penalty: 0.0,
                ..ScoreShaping::default()
            },
            whiten_rewards: true,
            updates: Updates::default(),
            ..Self::default()
        }
    }

    /// [`MethodConfig::check`], with `at` before each key in errors (`""`, `"ppo."`).
    pub(crate) fn check_at(&self, at: &str) -> Result<()> {
        let key = |key: &str| format!("{at}{key}");
        at_least(&key("samples"), self.samples, 1)?;
        not_negative(&key("kl_coef"), self.kl_coef)?;
        positive(&key("kl_target"), self.kl_target)?;
        positive(&key("kl_horizon"), self.kl_horizon)?;
        self.score.check(at)?;
        fraction(&key("gamma"), self.gamma)?;
        fraction(&key("lam"), self.lam)?;
        between_zero_and_one(&key("clip"), self.clip)?;
        let dual = self.dual_clip;
        let ok = dual == 0.0 || (dual > 1.0 && dual.is_finite());
        ensure(ok, &key("dual_clip"), dual, "0 (off) or a number above 1")?;
        not_negative(&key("value_clip"), self.value_clip)?;
        not_negative(&key("vf_coef"), self.vf_coef)?;
        not_negative(&key("entropy_coef"), self.entropy_coef)?;
        self.updates.check(at)
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        settings::read::<ScoreShaping>(table)?;
        settings::read::<Updates>(table)?;
        settings::read(table)
    }

    fn check(&self) -> Result<()> {
        self.check_at("")
    }

    fn unused(&self) -> Unused {
        let fixed = self.kl_controller == Controller::Fixed;
        let off = self.kl_coef == 0.0;
        unused_where(&[
            (
                fixed,
                &["kl_target", "kl_horizon"],
                "kl_controller is \"fixed\"",
            ),
            (off, &["kl_controller", "kl_estimator"], "kl_coef is 0"),
        ])
    }
}
