//! The settings: PPO's keys and those of macro actions.

use super::*;
use serde_json::json;

#[test]
fn ma_ppo_keys_and_ppo_keys_share_one_table() {
    let all = algorithms::resolve("ma_ppo", &json!({"ngram": 3, "clip": 0.1})).unwrap();
    assert_eq!(
        (&all["ngram"], &all["clip"], &all["lam"]),
        (&json!(3), &json!(0.1), &json!(0.95))
    );
    #[track_caller]
    fn check(config: Value, words: &[&str]) {
        let message = build("ma_ppo", &config, 0)
            .err()
            .expect("refused")
            .to_string();
        let said = words.iter().all(|word| message.contains(word));
        assert!(said && !message.contains('\n'), "{message}");
    }
    check(
        json!({"terminaton": "fixed"}),
        &[
            "unknown key \"algorithm.terminaton\"",
            "algorithm.termination",
        ],
    );
    check(
        json!({"clp": 0.1}),
        &["unknown key \"algorithm.clp\"", "algorithm.clip"],
    );
    check(
        json!({"termination": "words"}),
        &["algorithm.termination", "perplexity"],
    );
    check(json!({"ngram": 0}), &["algorithm.ngram = 0", "1 or more"]);
    check(json!({"lengths": []}), &["algorithm.lengths = []"]);
    check(json!({"lengths": [2, 0]}), &["algorithm.lengths = [2,0]"]);
    check(
        json!({"length_repeats": 0}),
        &["algorithm.length_repeats = 0"],
    );
    check(json!({"clip": 2}), &["algorithm.clip = 2"]);
    check(json!([]), &["expected a table"]);
}
