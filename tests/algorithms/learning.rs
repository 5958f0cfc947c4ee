//! Every on-policy method improves a tabular policy.

use super::bandit::Bandit;
use algorithms::build;
use serde_json::json;

#[test]
fn every_method_improves_a_tabular_policy() {
    let start = Bandit::new().expected_reward();
    let ceiling = Bandit::new().best();
    let mut configs = vec![
        ("ppo", json!({"kl_coef": 0.0})),
        ("ma_ppo", json!({"kl_coef": 0.0, "ratio": "macro"})),
        ("esrl", json!({"mode": "released", "ppo": {"kl_coef": 0.0}})),
        ("esrl", json!({"mode": "paper", "k_max": 8, "alpha": 1.0})),
    ];
    for baseline in [
        "cumulative",
        "ema",
        "fifo",
        "batch",
        "leave_one_out",
        "none",
    ] {
        let config = json!({"kl_coef": 0.0, "samples": 4, "baseline": baseline});
        configs.push(("reinforce", config));
    }
    configs.extend([
        ("mrt", json!({"kl_coef": 0.0})),
        (
            "mrt",
            json!({"kl_coef": 0.0, "deduplicate": true, "alpha": 0.5}),
        ),
        ("rloo", json!({"kl_coef": 0.0})),
        ("rloo", json!({"kl_coef": 0.0, "epochs": 4})),
        ("grpo", json!({"beta": 0.0})),
        (
            "grpo",
            json!({"beta": 0.0, "epochs": 4, "scale_rewards": "none"}),
        ),
    ]);
    for k_max in [1, 2, 4, 8] {
        configs.push(("esrl", json!({"kl_coef": 0.0, "k_max": k_max})));
    }
    for (name, config) in configs {
        let mut bandit = Bandit::new();
        let mut algorithm = build(name, &config, 7).unwrap();
        for step in 0..60 {
            bandit.step(algorithm.as_mut(), step);
        }
        let gain = (bandit.expected_reward() - start) / (ceiling - start);
        eprintln!("{name} {config}: {gain:.3}");
        assert!(gain > 0.5, "{name} {config}: {gain} of what can be gained");
    }
}
