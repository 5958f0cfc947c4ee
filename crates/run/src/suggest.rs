//! The name that was probably meant by an unknown one: the most similar, or ours for what another
//! trainer (TRL, PEFT, transformers, LLaMA-Factory) calls a setting.

use strsim::{jaro_winkler, normalized_damerau_levenshtein};

/// Other names of a setting, and ours, best first. Ours may lie in a table beside the unknown key.
const OTHER_NAMES: &[(&[&str], &[&str])] = &[
    (
        &["learning_rate", "lr"],
        &["lr", "optimizer.lr", "policy.lr"],
    ),
    (
        &["lr_scheduler_type", "lr_scheduler", "scheduler", "schedule"],
        &["schedule", "optimizer.schedule", "policy.schedule"],
    ),
    (
        &["warmup", "warmup_steps", "warmup_ratio"],
        &[
            "warmup_ratio",
            "optimizer.warmup_ratio",
            "policy.warmup_ratio",
        ],
    ),
    (
        &["weight_decay", "wd"],
        &[
            "weight_decay",
            "optimizer.weight_decay",
            "policy.weight_decay",
        ],
    ),
    (
        &[
            "gradient_clipping",
            "grad_clip",
            "clip_grad",
            "max_grad_norm",
        ],
        &[
            "max_grad_norm",
            "optimizer.max_grad_norm",
            "policy.max_grad_norm",
        ],
    ),
    (&["adam_epsilon", "epsilon"], &["eps"]),
    (&["adam_beta1"], &["beta1"]),
    (&["adam_beta2"], &["beta2"]),
    (&["num_train_epochs", "num_epochs", "n_epochs"], &["epochs"]),
    (
        &["num_ppo_epochs", "ppo_epochs", "num_iterations"],
        &["epochs"],
    ),
    (
        &["total_steps", "num_steps", "max_steps", "epochs"],
        &["max_steps", "steps"],
    ),
    (
        &[
            "per_device_train_batch_size",
            "train_batch_size",
            "batch_size",
            "batch",
            "bs",
        ],
        &["batch_size", "prompts"],
    ),
    (
        &[
            "gradient_accumulation_steps",
            "mini_batch_size",
            "micro_batch_size",
        ],
        &["micro_batch_tokens"],
    ),
    (&["logging_steps"], &["log_every"]),
    (&["eval_steps"], &["eval_every"]),
    (&["save_steps"], &["save_every"]),
    (&["save_total_limit"], &["keep_checkpoints"]),
    (
        &[
            "max_length",
            "max_seq_length",
            "max_seq_len",
            "cutoff_len",
            "seq_len",
        ],
        &["max_len", "max_prompt_len", "max_new_tokens"],
    ),
    (&["max_prompt_length"], &["max_prompt_len"]),
    (
        &["max_completion_length", "response_length", "max_tokens"],
        &["max_new_tokens"],
    ),
    (
        &["num_generations", "n_samples", "num_return_sequences"],
        &["samples"],
    ),
    (&["rank", "lora_r", "lora_rank"], &["r", "lora.r"]),
    (&["lora_alpha"], &["alpha", "lora.alpha"]),
    (&["lora_dropout"], &["dropout", "lora.dropout"]),
    (
        &["target_modules", "lora_target"],
        &["targets", "lora.targets"],
    ),
    (
        &[
            "model_name_or_path",
            "name_or_path",
            "base_model",
            "name",
            "path",
        ],
        &["source", "policy"],
    ),
    (&["reward_model", "reward_model_path"], &["reward"]),
    (&["chat_template"], &["template"]),
    (
        &[
            "dataset",
            "dataset_name",
            "dataset_path",
            "train_file",
            "file",
            "files",
        ],
        &["path"],
    ),
    (
        &["val_size", "validation_split", "test_size"],
        &["held_out"],
    ),
    (
        &["validation_file", "eval_dataset", "eval_file"],
        &["eval_path"],
    ),
    (&["max_samples", "num_samples"], &["max_rows"]),
    (
        &["beta", "init_kl_coef", "kl_penalty_coef", "kl_beta"],
        &["kl_coef", "beta"],
    ),
    (
        &["cliprange", "clip_range", "epsilon", "ppo_clip"],
        &["clip"],
    ),
    (&["gae_lambda", "lambda", "lambd"], &["lam", "lambda"]),
];

/// The key that was probably meant by the unknown key `wrong`, where `known` are the keys of its
/// table: ours for another trainer's name, else the most similar one.
///
/// ```
/// let known = ["epochs", "batch_size", "optimizer"];
/// assert_eq!(run::suggest("learning_rate", &known).unwrap(), "optimizer.lr");
/// assert_eq!(run::suggest("batch_sise", &known).unwrap(), "batch_size");
/// ```
pub fn suggest(wrong: &str, known: &[&str]) -> Option<String> {
    let is_known = |name: &&&str| {
        let first = name.split('.').next().unwrap_or_default();
        **name != wrong && known.contains(&first)
    };
    let wrong_lower = wrong.to_lowercase().replace('-', "_");
    let entries = OTHER_NAMES.iter();
    let ours = entries
        .filter(|(others, _)| others.contains(&wrong_lower.as_str()))
        .flat_map(|(_, ours)| ours.iter())
        .find(is_known);
    match ours {
        Some(name) => Some(name.to_string()),
        None => elsewhere(&wrong_lower, known).or_else(|| {
            let near = nearest(wrong, known);
            near.filter(|near| is_alike(&wrong_lower, near))
                .map(String::from)
        }),
    }
}

/// Whether one name may have been meant by the other.
fn is_alike(wrong: &str, name: &str) -> bool {
    let holds = name.contains(wrong) || wrong.contains(name);
    wrong.len() > 1
        && (holds
            || normalized_damerau_levenshtein(wrong, name) >= 0.5
            || jaro_winkler(wrong, name) >= 0.75)
}

/// Tables of a stage's settings and keys in them that are written without their table.
type Tables = &'static [(&'static str, &'static [&'static str])];

const OPTIMIZER: &[&str] = &[
    "lr",
    "schedule",
    "warmup_ratio",
    "weight_decay",
    "max_grad_norm",
    "eps",
    "beta1",
    "beta2",
];
const LORA: &[&str] = &["r", "alpha", "dropout", "targets", "rslora"];
const DATA: &[&str] = &["path", "eval_path", "held_out", "max_rows"];

const FIT: Tables = &[
    ("train.optimizer", OPTIMIZER),
    (
        "train",
        &[
            "optimizer",
            "epochs",
            "max_steps",
            "batch_size",
            "micro_batch_tokens",
            "log_every",
            "eval_every",
            "save_every",
            "keep_checkpoints",
            "seed",
            "memory_gb",
        ],
    ),
    ("lora", LORA),
    ("data", DATA),
    ("data", &["max_len", "format"]),
    ("model", &["source", "template"]),
];

const RL: Tables = &[
    ("train.policy", OPTIMIZER),
    (
        "train",
        &[
            "steps",
            "micro_batch_tokens",
            "eval_every",
            "save_every",
            "keep_checkpoints",
            "seed",
            "memory_gb",
        ],
    ),
    (
        "algorithm",
        &[
            "epochs", "samples", "kl_coef", "clip", "lam", "gamma", "name",
        ],
    ),
    (
        "rollout",
        &["prompts", "max_new_tokens", "temperature", "top_k", "top_p"],
    ),
    ("lora", LORA),
    ("data", DATA),
    ("data", &["max_prompt_len", "format"]),
    ("model", &["policy", "reward", "template"]),
];

/// Where a key belongs that stands outside every table: `lr` is train.optimizer.lr. `known` are the
/// tables of all settings.
fn elsewhere(wrong: &str, known: &[&str]) -> Option<String> {
    let tables = match (known.contains(&"train"), known.contains(&"rollout")) {
        (true, true) => RL,
        (true, false) => FIT,
        _ => return None,
    };
    let entries = OTHER_NAMES.iter();
    let ours = entries
        .filter(|(others, _)| others.contains(&wrong))
        .flat_map(|(_, ours)| ours.iter().copied());
    std::iter::once(wrong).chain(ours).find_map(|name| {
        let (table, _) = tables.iter().find(|(_, keys)| keys.contains(&name))?;
        Some(format!("{table}.{name}"))
    })
}

/// The known name most similar to `wrong`, whatever its case: by edit distance, by common prefix,
/// and by one containing the other (`step`, `max_steps`). `None` if `known` is empty.
///
/// ```
/// assert_eq!(run::nearest("max_step", &["lr", "max_steps"]), Some("max_steps"));
/// ```
pub fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let wrong = wrong.as_str();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let name = name.as_str();
        let holds = name.contains(wrong) || wrong.contains(name);
        normalized_damerau_levenshtein(wrong, name)
            + 0.5 * jaro_winkler(wrong, name)
            + if holds { 0.5 } else { 0.0 }
    };
    known
        .iter()
        .copied()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}
