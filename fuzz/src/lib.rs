//! One function per kind of foreign file, from bytes to a value or a one-line error.
//! `fuzz_targets/*.rs` connect them to libFuzzer; the ordinary tests (`tests/hostile.rs`) include
//! `targets.rs` and replay `corpus/`.

pub mod targets;

/// Runs a target. Panics on an error that is not one line.
pub fn one(name: &str, bytes: &[u8]) {
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
    let (_, run) = target.expect("a known target");
    if let Err(error) = run(bytes) {
        let is_line = !error.trim().is_empty() && !error.contains('\n');
        assert!(is_line, "not one line: {error:?}");
    }
}
