//! What a step logs, and what each name means. Names are those of the field (TRL) where it has one.

use crate::estimators::{kl::Estimator, mean, variance};
use crate::experience::host;
use crate::{
    Experience, Scores, Totals, a_lol, dpo, esrl, gold, grpo, ma_ppo, mrt, reinforce, rest, rwr,
};
use candle_core::{Result, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;

/// Name and definition, reduction included.
pub(crate) type Definitions = &'static [(&'static str, &'static str)];

/// What several methods log, and then each method's own.
const TABLES: &[Definitions] = &[
    SHARED,
    esrl::METRICS,
    grpo::METRICS,
    ma_ppo::METRICS,
    mrt::METRICS,
    reinforce::METRICS,
    a_lol::METRICS,
    dpo::METRICS,
    gold::METRICS,
    rest::METRICS,
    rwr::METRICS,
];

const SHARED: Definitions = &[
    (
        "objective/scores",
        "mean over responses of the reward (the model's normalised score, or the weighted sum of [[rewards]]), before the method's clipping and penalties; squashed to 0..1 where the method says so",
    ),
    (
        "objective/scores_std",
        "population standard deviation over responses of that score",
    ),
    (
        "objective/kl",
        "k1: mean over responses of the sum over tokens of logp_old - logp_ref; unbiased, may be negative",
    ),
    (
        "objective/kl_k2",
        "k2: mean over responses of the sum over tokens of (logp_old - logp_ref)^2 / 2",
    ),
    (
        "objective/kl_k3",
        "k3: mean over responses of the sum over tokens of exp(-x) - 1 + x, x = logp_old - logp_ref",
    ),
    (
        "objective/kl_exact",
        "mean over responses of the sum over tokens of the full-vocabulary KL(policy || reference)",
    ),
    (
        "objective/kl_coef",
        "coefficient of the KL penalty in this step's rewards",
    ),
    (
        "objective/entropy",
        "mean over tokens of the full-vocabulary entropy at sampling, nats",
    ),
    (
        "objective/non_score_reward",
        "mean over responses of the summed KL penalty, -kl_coef * KL",
    ),
    (
        "objective/rlhf_reward",
        "mean over responses of what is optimised: score after clipping and penalties, plus non_score_reward",
    ),
    (
        "rollout/length_mean",
        "mean response length, tokens, EOS included",
    ),
    ("rollout/length_min", "shortest response, tokens"),
    ("rollout/length_max", "longest response, tokens"),
    ("rollout/eos_rate", "share of responses that ended in EOS"),
    (
        "advantage/mean",
        "mean over tokens of the advantage before whitening; over responses where it is one of the whole response",
    ),
    ("advantage/std", "population standard deviation of the same"),
    ("advantage/min", "smallest advantage before whitening"),
    ("advantage/max", "largest advantage before whitening"),
    (
        "val/explained_variance",
        "1 - var(returns - values) / var(returns) over tokens, before the update",
    ),
    (
        "val/clipfrac",
        "share of tokens whose clipped value loss is the larger, mean over the step's updates",
    ),
    (
        "group/reward_std",
        "mean over prompts of the population standard deviation of their samples' rewards",
    ),
    (
        "group/equal_frac",
        "share of prompts whose samples all have the same reward: nothing to learn from",
    ),
    (
        "loss/policy",
        "policy loss, divided as the method's page says, without critic, entropy and KL terms; mean over the step's updates",
    ),
    (
        "loss/value",
        "0.5 * mean over tokens of the (clipped) squared error of the critic, before vf_coef",
    ),
    (
        "loss/mrt",
        "the part of loss/policy from prompts with several samples (Eq. 5)",
    ),
    (
        "loss/reinforce",
        "the part of loss/policy from prompts with one sample (Eq. 3)",
    ),
    (
        "loss/nll",
        "mean over tokens of -log p of the responses learnt from, unweighted; mean over the step's updates",
    ),
    (
        "policy/approxkl",
        "mean over tokens (RLOO: responses, their summed log-probs) of (logp - logp_old)^2 / 2, mean over the step's updates",
    ),
    (
        "policy/clipfrac",
        "share of tokens (RLOO: responses) whose clipped policy loss is the larger, mean over the step's updates",
    ),
    (
        "policy/ratio",
        "mean over tokens (RLOO: responses) of exp(logp - logp_old), mean over the step's updates",
    ),
    (
        "policy/ratio_var",
        "mean over tokens (RLOO: responses) of (exp(logp - logp_old) - 1)^2, mean over the step's updates",
    ),
    (
        "policy/entropy",
        "mean over tokens of the full-vocabulary entropy during the update, nats",
    ),
    (
        "policy/sampler_gap",
        "mean over tokens of |logp - logp_sampled|: training forward against sampler",
    ),
    (
        "sampling/importance_ratio",
        "mean over drawn tokens of exp(logp_old - logp_sampled), where rollout.weights are not the policy's; about 1",
    ),
    (
        "sampling/truncated",
        "share of drawn tokens whose importance ratio is above rollout.importance_cap and was cut to it",
    ),
];

/// Every name that a method may log.
pub fn metric_names() -> Vec<&'static str> {
    TABLES
        .iter()
        .copied()
        .flatten()
        .map(|(name, _)| *name)
        .collect()
}

/// One line on a metric: what it is and how it is reduced. `first/…` is the same at the step's first update.
pub fn metric_definition(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("first/").unwrap_or(name);
    let mut all = TABLES.iter().copied().flatten();
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, definition)| *definition)
}

pub(crate) type Metrics = BTreeMap<String, f64>;

/// What is true of a step's rows whatever the method: scores and lengths; of rollouts entropy, and KL where a reference was read.
pub(crate) fn of_rollouts(exp: &Experience) -> Metrics {
    let wide = |column: &[f32]| column.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let lens: Vec<f64> = exp.lens.iter().map(|l| *l as f64).collect();
    let finished: Vec<f64> = exp
        .finished
        .iter()
        .map(|f| f64::from(u8::from(*f)))
        .collect();
    let scores = wide(&exp.score);
    let mut metrics = Metrics::from([
        ("rollout/length_mean".into(), mean(&lens)),
        (
            "rollout/length_min".into(),
            lens.iter().copied().reduce(f64::min).unwrap_or(0.0),
        ),
        (
            "rollout/length_max".into(),
            lens.iter().copied().reduce(f64::max).unwrap_or(0.0),
        ),
        ("rollout/eos_rate".into(), mean(&finished)),
    ]);
    if !scores.is_empty() {
        metrics.insert("objective/scores".into(), mean(&scores));
        metrics.insert("objective/scores_std".into(), variance(&scores).sqrt());
    }
    if exp.logp_sampled.is_empty() {
        return metrics; // stored rows: no estimate of anything of the policy
    }
    if !exp.entropy.is_empty() {
        metrics.insert("objective/entropy".into(), mean(&wide(&exp.entropy)));
    }
    if !exp.logp_ref.is_empty() && !exp.logp_old.is_empty() {
        let x = exp.log_ratio_to_reference();
        let per_row = |column: Vec<f32>| mean(&exp.row_sums(&column));
        let by = |e: Estimator| x.iter().map(|x| e.of(f64::from(*x)) as f32).collect();
        metrics.insert("objective/kl".into(), per_row(by(Estimator::K1)));
        metrics.insert("objective/kl_k2".into(), per_row(by(Estimator::K2)));
        metrics.insert("objective/kl_k3".into(), per_row(by(Estimator::K3)));
    }
    if !exp.kl_exact.is_empty() {
        metrics.insert(
            "objective/kl_exact".into(),
            mean(&exp.row_sums(&exp.kl_exact)),
        );
    }
    metrics
}

/// Of advantages before whitening.
pub(crate) fn of_advantages(advantages: &[f64]) -> Metrics {
    let all = || advantages.iter().copied();
    Metrics::from([
        ("advantage/mean".into(), mean(advantages)),
        ("advantage/std".into(), variance(advantages).sqrt()),
        (
            "advantage/min".into(),
            all().reduce(f64::min).unwrap_or(0.0),
        ),
        (
            "advantage/max".into(),
            all().reduce(f64::max).unwrap_or(0.0),
        ),
    ])
}

/// How far apart the rewards of each prompt's samples are.
pub(crate) fn of_groups(rewards: &[f64], groups: &[Range<usize>]) -> Metrics {
    let std = |rows: &Range<usize>| variance(&rewards[rows.clone()]).sqrt();
    let equal = |rows: &Range<usize>| {
        let rewards = &rewards[rows.clone()];
        f64::from(u8::from(rewards.iter().all(|r| *r == rewards[0])))
    };
    let over_groups =
        |of: &dyn Fn(&Range<usize>) -> f64| mean(&groups.iter().map(of).collect::<Vec<f64>>());
    Metrics::from([
        ("group/reward_std".into(), over_groups(&std)),
        ("group/equal_frac".into(), over_groups(&equal)),
    ])
}

/// Of one micro-batch: the policy's loss, and the entropy over the tokens of the optimiser step.
pub(crate) fn of_update(loss: &Tensor, now: &Scores, totals: Totals) -> Result<Metrics> {
    let entropy: f64 = host(&now.entropy)?.iter().sum();
    Ok(Metrics::from([
        ("loss/policy".into(), host(loss)?[0]),
        ("policy/entropy".into(), entropy / totals.tokens as f64),
    ]))
}
