//! What a process asks of the machine, threads and an instruction set: refused where the machine does not have it; and every
//! operation at every instruction set.

use crate::common::again_in_a_child;
use ops::Level;
use std::process::{Command, ExitCode};

/// In processes of their own, whose environment is given.
#[test]
fn what_the_machine_does_not_have_is_refused_by_every_binary() {
    const CHILD: &str = "MACHINE_TEST_CHILD";
    if std::env::var(CHILD).is_ok() {
        let code = run::main(ops::prepare_process, || run::print("the pipeline ran"));
        eprintln!("{code:?}");
        return;
    }
    let (threads, simd) = ("RAYON_NUM_THREADS", Level::VARIABLE);
    for (variable, value, says) in [
        (threads, "1", ""),
        (threads, "0", "0: work needs a thread; give 1 to "),
        (threads, "100000", "100000 is more than this machine's "),
        (threads, "two", "\"two\" is not a number of threads"),
        (threads, "-1", "\"-1\" is not a number of threads"),
        (threads, "", "\"\" is not a number of threads"),
        (simd, "auto", ""),
        (simd, "portable", ""),
        (
            simd,
            "AVX2",
            "\"AVX2\" is not an instruction set; give one of auto, ",
        ),
        (
            simd,
            "",
            "\"\" is not an instruction set; give one of auto, ",
        ),
    ] {
        let output = again_in_a_child([(CHILD, "1"), (variable, value)]);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let ran = out.contains("the pipeline ran");
        assert_eq!(ran, says.is_empty(), "{variable}={value}: {out}");
        let line = format!("error: {variable} = {says}");
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
fn a_level_that_the_cpu_lacks_is_refused() {
    use Level::{Avx2, Avx512, Portable};
    let (new, old, oldest) = ([Avx512, Avx2, Portable], [Avx2, Portable], [Portable]);
    for (here, best) in [(&new[..], Avx512), (&old, Avx2), (&oldest, Portable)] {
        assert_eq!(Level::chosen(None, here), Ok(best));
        assert_eq!(Level::chosen(Some("auto"), here), Ok(best));
        for level in new {
            let chosen = Level::chosen(Some(level.name()), here);
            assert_eq!(chosen.ok(), here.contains(&level).then_some(level));
        }
    }
    assert_eq!(
        Level::chosen(Some("avx512"), &old).unwrap_err(),
        "WICK_SIMD = avx512: this CPU does not have it; give one of auto, avx2, portable, or unset it"
    );
    assert_eq!(Level::here().last(), Some(&Portable));
}

/// The tests of `ops`, of the model (against candle-transformers) and of decoding, once for each level, in a process that has it;
/// levels that this machine lacks are left out, `portable` is always there.
#[test]
fn every_level_of_this_machine_passes_the_tests_of_the_operations() {
    for level in Level::here() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["ops::", "models::", "generation::", "--test-threads=2"])
            .env(Level::VARIABLE, level.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{level}: {text}");
        for test in [
            "ops::the_level_is_the_one_asked_for",
            "ops::token_scores_are_their_composition",
        ] {
            let passed = format!("test {test} ... ok");
            assert!(text.contains(&passed), "{level}: {text}");
        }
    }
}

#[test]
fn large_pages_hold_the_same_numbers() {
    let tensors = [
        testkit::varied(&[700, 1024], 1, 1.0),
        testkit::varied(&[3, 5], 2, 1.0),
    ];
    let tensors = tensors.map(|t| t.to_dtype(candle_core::DType::F32).unwrap());
    let copies = tensors.each_ref().map(|t| testkit::values(t));
    // doubles are no weights, and are left alone
    let other = testkit::varied(&[2, 2], 3, 1.0);
    ops::in_large_pages(tensors.iter().chain([&other]));
    assert_eq!(tensors.each_ref().map(|t| testkit::values(t)), copies);
}
