//! Threads and instruction sets that the machine does not have are refused; the operations pass
//! their tests at every instruction set.

use crate::common::again_in_a_child;
use ops::Level;
use std::process::{Command, ExitCode};

/// In child processes with the given environment.
#[test]
fn unsupported_threads_and_instruction_sets_are_refused() {
    const CHILD: &str = "MACHINE_TEST_CHILD";
    if std::env::var(CHILD).is_ok() {
        let code = run::main(ops::prepare_process, || run::print("the pipeline ran"));
        eprintln!("{code:?}");
        return;
    }
    let (threads, simd) = ("RAYON_NUM_THREADS", Level::VARIABLE);
    for (variable, value, message) in [
        (threads, "1", ""),
        (threads, "0", "0; set it to 1 to "),
        (threads, "100000", "100000, but this machine has "),
        (threads, "two", "\"two\" is not a number of threads"),
        (threads, "-1", "\"-1\" is not a number of threads"),
        (threads, "", "\"\" is not a number of threads"),
        (simd, "auto", ""),
        (simd, "portable", ""),
        (
            simd,
            "AVX2",
            "\"AVX2\" is not an instruction set; set it to one of auto, ",
        ),
        (
            simd,
            "",
            "\"\" is not an instruction set; set it to one of auto, ",
        ),
    ] {
        let output = again_in_a_child([(CHILD, "1"), (variable, value)]);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let ran = out.contains("the pipeline ran");
        assert_eq!(ran, message.is_empty(), "{variable}={value}: {out}");
        let line = format!("error: {variable} = {message}");
        assert!(
            ran || err.lines().any(|found| found.starts_with(&line)),
            "{variable}={value}: {err}"
        );
        let code = if ran {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
        assert!(
            err.contains(&format!("{code:?}")),
            "{variable}={value}: {err}"
        );
    }
}

#[test]
fn a_level_that_the_cpu_does_not_support_is_refused() {
    use Level::{Avx2, Avx512, Portable};
    let (new, old, oldest) = ([Avx512, Avx2, Portable], [Avx2, Portable], [Portable]);
    for (supported, best) in [(&new[..], Avx512), (&old, Avx2), (&oldest, Portable)] {
        assert_eq!(Level::chosen(None, supported), Ok(best));
        assert_eq!(Level::chosen(Some("auto"), supported), Ok(best));
        for level in new {
            let chosen = Level::chosen(Some(level.name()), supported);
            assert_eq!(chosen.ok(), supported.contains(&level).then_some(level));
        }
    }
    assert_eq!(
        Level::chosen(Some("avx512"), &old).unwrap_err(),
        "WICK_SIMD = avx512: this CPU does not have it; set it to one of auto, avx2, portable, or unset it"
    );
    assert_eq!(Level::supported().last(), Some(&Portable));
}

/// Runs the tests of `ops`, of the models (against candle-transformers) and of decoding once for
/// each level that this machine supports, in a process of its own.
#[test]
fn the_operations_pass_their_tests_at_every_level() {
    for level in Level::supported() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["ops::", "models::", "generation::", "--test-threads=2"])
            .env(Level::VARIABLE, level.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{level}: {text}");
        for test in [
            "ops::all::the_level_is_the_one_that_the_environment_selects",
            "ops::head::token_scores_equal_the_reference",
        ] {
            let passed = format!("test {test} ... ok");
            assert!(text.contains(&passed), "{level}: {text}");
        }
    }
}

#[test]
fn moving_weights_to_large_pages_keeps_their_numbers() {
    let tensors = [
        testkit::varied(&[700, 1024], 1, 1.0),
        testkit::varied(&[3, 5], 2, 1.0),
    ];
    let tensors = tensors.map(|t| t.to_dtype(candle_core::DType::F32).unwrap());
    let copies = tensors.each_ref().map(|t| testkit::values(t));
    // f64 tensors are not weights and stay where they are
    let other = testkit::varied(&[2, 2], 3, 1.0);
    ops::in_large_pages(tensors.iter().chain([&other]));
    assert_eq!(tensors.each_ref().map(|t| testkit::values(t)), copies);
}
