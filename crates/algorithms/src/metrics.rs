//! What a step logs, and what each name means. Names are those of the field (TRL) where it has one.

use crate::Experience;
use crate::estimators::{kl::Estimator, mean, variance};
use std::collections::BTreeMap;

/// Name and definition, reduction included.
const DEFINITIONS: &[(&str, &str)] = &[
    (
        "objective/scores",
        "mean over responses of the reward model's normalised score, before clipping and penalties",
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
        "mean over tokens of the advantage before whitening",
    ),
    (
        "advantage/std",
        "population standard deviation over tokens of the advantage before whitening",
    ),
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
        "loss/policy",
        "policy loss: PPO's mean over tokens, ESRL's mean over prompts; mean over the step's updates",
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
        "policy/approxkl",
        "mean over tokens of (logp - logp_old)^2 / 2, mean over the step's updates",
    ),
    (
        "policy/clipfrac",
        "share of tokens whose clipped policy loss is the larger, mean over the step's updates",
    ),
    (
        "policy/ratio",
        "mean over tokens of exp(logp - logp_old), mean over the step's updates",
    ),
    (
        "policy/ratio_var",
        "mean over tokens of (exp(logp - logp_old) - 1)^2, mean over the step's updates",
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
        "esrl/samples_drawn",
        "responses drawn to learn from (greedy estimates not counted)",
    ),
    (
        "esrl/samples_full",
        "responses that k_max per prompt would have drawn",
    ),
    (
        "esrl/samples_saved_frac",
        "1 - (samples_drawn + greedy_drawn) / samples_full",
    ),
    ("esrl/tokens_drawn", "response tokens of samples_drawn"),
    (
        "esrl/greedy_drawn",
        "greedy responses drawn to estimate the capability of prompts met for the first time",
    ),
    ("esrl/greedy_tokens", "response tokens of greedy_drawn"),
    (
        "esrl/samples_dropped",
        "responses the released mode eliminated after drawing them",
    ),
    (
        "esrl/confidence_mean",
        "released mode: mean over the responses kept of 1 + mean_t exp(p) p, p the largest probability",
    ),
    (
        "esrl/capability_mean",
        "mean over the batch's prompts of the capability that planned this step, before normalisation",
    ),
    ("esrl/capability_min", "smallest of those"),
    ("esrl/capability_max", "largest of those"),
    ("esrl/k_mean", "mean number of samples per prompt (Eq. 8)"),
    (
        "esrl/tau_mean",
        "mean temperature of the prompts sampled (Eq. 9)",
    ),
    (
        "esrl/baseline",
        "mean of the FIFO queue of rewards, this step's included",
    ),
    (
        "esrl/reward_scale",
        "what rewards less baseline are divided by: 1, or the queue's standard deviation",
    ),
    ("esrl/mrt_prompts", "prompts with several samples"),
    ("esrl/reinforce_prompts", "prompts with one sample"),
    ("esrl/skipped_prompts", "prompts given no sample this step"),
];

/// One line on a metric: what it is and how it is reduced. `first/…` is the same at the step's first update.
pub fn metric_definition(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("first/").unwrap_or(name);
    let found = DEFINITIONS.iter().find(|(known, _)| *known == name);
    found.map(|(_, definition)| *definition)
}

pub(crate) type Metrics = BTreeMap<String, f64>;

/// What is true of rollouts whatever the method: scores, lengths, entropy, and KL where a reference was read.
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
        ("objective/scores".into(), mean(&scores)),
        ("objective/scores_std".into(), variance(&scores).sqrt()),
        ("objective/entropy".into(), mean(&wide(&exp.entropy))),
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
    if !exp.logp_ref.is_empty() {
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
