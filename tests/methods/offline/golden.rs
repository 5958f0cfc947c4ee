//! All offline losses and gradients against the independent program.

use super::*;

#[test]
fn offline_losses_and_gradients_equal_the_golden_program() {
    let golden = golden_json("offline.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (exp, now) = batch(&golden["batches"][case["batch"].as_str().unwrap()]);
        let found = step(method(name, case["config"].clone()).as_mut(), &exp, &now);
        let what = format!("{name} {}", case["config"]);
        assert_close_slices(&what, &[found.loss], &numbers(&json!([case["loss"]])), 2e-6);
        assert_close_slices(&what, &found.d_logp, &numbers(&case["grad"]), 2e-6);
    }
}
