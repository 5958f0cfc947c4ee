//! The source `process`: what it sends, and the scores that it refuses.

use super::{map, mixture, score, sh};
use rewards::Mixture;
use serde_json::{Value, json};

/// Answers each item with the number of its place, by awk: items are counted by their "response"
/// keys.
const GOOD: &str = r#"while read -r line; do printf "%s\n" "$line" | awk '{
  id = $0; sub(/^{"id":/, "", id); sub(/,.*/, "", id); n = gsub(/"response":/, "")
  s = ""; for (i = 0; i < n; i++) s = s (i ? "," : "") i "." id
  print "{\"id\":" id ",\"scores\":[" s "]}" }'; done"#;

fn process(script: &str, sets: Value) -> rewards::Result<Mixture> {
    let mut entry =
        json!({"kind": "process", "command": sh(script), "timeout_secs": 20.0, "retries": 1});
    entry.as_object_mut().unwrap().extend(map(sets));
    mixture(entry)
}

#[test]
fn a_process_scores_in_batches() {
    let mut mixture = process(GOOD, json!({"batch_size": 2})).unwrap();
    assert_eq!(score(&mut mixture, 5).unwrap(), [0.0, 1.0, 0.1, 1.1, 0.2]);
    assert_eq!(score(&mut mixture, 1).unwrap(), [0.3]);
    assert!(score(&mut mixture, 0).unwrap().is_empty());
}

#[test]
fn a_process_sees_prompt_response_and_reference() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("request");
    let script = format!(
        "read -r line; printf %s \"$line\" > {}; echo '{{\"id\":0,\"scores\":[1,-2.5e0]}}'; cat > /dev/null",
        file.display()
    );
    let mut mixture = process(&script, json!({})).unwrap();
    assert_eq!(score(&mut mixture, 2).unwrap(), [1.0, -2.5]);
    let request: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let item = json!({"prompt": "Say \"x\".", "response": "x\n", "reference": "x"});
    assert_eq!(request, json!({"id": 0, "items": [item, item]}));
}

#[test]
fn invalid_scores_of_a_process_are_refused() {
    #[track_caller]
    fn check(scores: &str, expected: &str) {
        let script = format!(
            "read -r l; n=${{l#*:}}; printf '{{\"id\":%s,%s}}\\n' \"${{n%%,*}}\" '{scores}'; cat > /dev/null"
        );
        let mut mixture = process(&script, json!({})).unwrap();
        let error = score(&mut mixture, 2).unwrap_err().to_string();
        assert!(
            error.starts_with("reward process: the program `sh"),
            "{error}"
        );
        assert!(error.contains("failed 2 times; the last time"), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    check("\"scores\":[1]", "it answered 1 scores for 2 items");
    check("\"scores\":[1,2,3]", "it answered 3 scores for 2 items");
    check("\"scores\":[]", "it answered 0 scores for 2 items");
    check("\"scores\":[1,NaN]", "score 2 is NaN, not a finite number");
    check(
        "\"scores\":[-Infinity,1]",
        "score 1 is Infinity, not a finite number",
    );
    check(
        "\"scores\":[true,1]",
        "score 1 is true, not a finite number",
    );
    check("\"scores\":[1,[1]]", "score 2 is [1], not a finite number");
    check("\"scores\":[1,{}]", "score 2 is {}, not a finite number");
    check(
        "\"scores\":[1,2],\"scores\":[2,1]",
        "which has the key \"scores\" twice at column ",
    );
    // Python's numbers do not hide it
    check(
        "\"scores\":[1,NaN],\"scores\":[2,1]",
        "which has the key \"scores\" twice",
    );
    check(
        "\"scores\":[1,1e999]",
        "which has a number out of range at column ",
    );
    check(
        "\"why\":\"\\ud800 \"",
        "which has an unpaired surrogate at column ",
    );
    check(
        "\"scores\":[1,1e300]",
        "score 2 is 1e+300, too large for a 32-bit float",
    );
    check(
        "\"scores\":[null,1]",
        "score 1 is null, not a finite number",
    );
    check(
        "\"scores\":[\"1\",1]",
        "score 1 is \"1\", not a finite number",
    );
    check("\"scores\":1", "its answer has no list `scores`");
    check("\"error\":\"no model\"", "its answer has no list `scores`");
}
