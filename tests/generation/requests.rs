//! Requests that cannot be decoded.

use super::{engine, model, request};
use generation::{Request, Sampling};
use models::CausalLm;

#[test]
fn impossible_requests_are_refused_before_any_work() {
    let model = model();
    #[track_caller]
    fn check(model: &CausalLm, request: Request, max_rows: usize, message: &str) {
        let good = self::request(vec![1, 2], 1, Sampling::default(), 0);
        let good = Request {
            sampling: Sampling {
                max_new_tokens: 4,
                ..good.sampling
            },
            ..good
        };
        let mut calls = 0;
        let error = engine(model, None, max_rows)
            .run(&[good, request], &mut |_, _| calls += 1)
            .unwrap_err();
        let error = run::one_line(&error.into());
        assert!(error.contains(message), "{error}");
        assert_eq!(calls, 0);
    }
    let ask = |prompt: &[u32], sampling| request(prompt.to_vec(), 1, sampling, 0);
    let with = |max_new_tokens| Sampling {
        max_new_tokens,
        ..Sampling::default()
    };
    let heat = |temperature| Sampling {
        temperature,
        ..with(4)
    };
    check(&model, ask(&[], with(4)), 8, "prompt 1 is empty");
    check(&model, ask(&[1], with(0)), 8, "max_new_tokens = 0");
    check(
        &model,
        ask(&[1; 61], with(4)),
        8,
        "exceeds the model's context of 64",
    );
    check(&model, ask(&[1, 97], with(4)), 8, "holds token 97");
    check(&model, ask(&[1], heat(-1.0)), 8, "temperature = -1");
    check(&model, ask(&[1], heat(f32::NAN)), 8, "temperature = NaN");
    let top_p = Sampling {
        top_p: 0.0,
        ..with(4)
    };
    check(&model, ask(&[1], top_p), 8, "top_p = 0");
    check(&model, ask(&[1], with(4)), 0, "max_rows = 0");
}
