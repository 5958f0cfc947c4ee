//! Definitions of the metrics that several methods log.

use crate::metrics::Definitions;

pub(crate) const SHARED: Definitions = &[
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
