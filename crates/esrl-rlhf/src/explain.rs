//! What the loop itself logs beside the method's metrics, and what each name means (docs/metrics.md).

pub(crate) const EXPLAINED: &[(&str, &str)] = &[
    (
        "eval/reward",
        "mean reward of sampled answers to the held-out prompts, with the same random numbers at every evaluation",
    ),
    ("eval/response_length", "mean tokens of those answers"),
    ("eval/eos_rate", "share of those answers that ended"),
    (
        "policy/grad_norm",
        "global L2 norm of the policy's gradients before clipping, mean over the step's updates",
    ),
    (
        "val/grad_norm",
        "global L2 norm of the critic's gradients before clipping, mean over the step's updates",
    ),
    (
        "policy/lr",
        "the policy's learning rate; 0 while only the critic learns",
    ),
    (
        "pool/rows",
        "stored responses; logged where a phase of the method begins",
    ),
    (
        "rollout/clauses_missing",
        "share of the step's responses that the file of rollout.clauses does not have; the splitter cuts those",
    ),
    (
        "pool/rows_kept",
        "stored responses of weight above 0; logged where a phase of the method begins",
    ),
    (
        "time/estimate",
        "seconds of the greedy answers that estimate capabilities",
    ),
    ("time/sample", "seconds of sampling"),
    ("time/reward", "seconds of scoring"),
    (
        "time/pool",
        "seconds of making, reading, weighing and drawing from the stored responses or pairs",
    ),
    (
        "time/read",
        "seconds of the forwards without graph: reference, critic, log-probs",
    ),
    (
        "time/update",
        "seconds of forwards with graph, backward and updates",
    ),
    ("time/step", "seconds of the step"),
    (
        "throughput/tokens_per_sec",
        "response tokens drawn (learnt from, where none are drawn) per second of the step",
    ),
];
