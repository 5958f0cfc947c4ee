//! One function for each kind of foreign file, from bytes to a value or a one-line error. `fuzz_targets/*.rs` feed them to
//! libFuzzer; the ordinary tests (`tests/hostile.rs`) include `targets.rs` and replay `corpus/` through them.

pub mod targets;

/// Runs a target; an error that is not one line counts as a fault.
pub fn one(name: &str, bytes: &[u8]) {
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
    let (_, run) = target.expect("a known target");
    if let Err(told) = run(bytes) {
        assert!(!told.trim().is_empty() && !told.contains('\n'), "not one line: {told:?}");
    }
}
