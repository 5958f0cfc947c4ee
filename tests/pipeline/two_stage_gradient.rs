//! ESRL's claim: sampling without a graph and one teacher-forced forward give the gradient that a
//! graph through every step of the sampling would.

use super::world::World;
use algorithms::Experience;
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use generation::{Engine, Finish, Request, Sample, Sampling};
use models::Lora;
use policy::{Batch, Policy, TemplateChoice};
use testkit::{assert_close, assert_close_slices};

const TEMPERATURE: f32 = 0.8;

#[test]
fn the_two_stage_gradient_equals_the_token_by_token_gradient() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    let policy = Policy::open(&world.text("sft"), TemplateChoice::Auto, &Device::Cpu).unwrap();
    let lora = policy.adapter.as_ref().unwrap().trainable().unwrap();
    let (samples, rows) = samples(&policy, &lora);

    for (mode, tempered) in [("paper", false), ("corrected", true)] {
        let settings = serde_json::json!({"mode": mode, "kl_coef": 0.0});
        let mut algorithm = algorithms::build("esrl", &settings, 1).unwrap();
        assert_eq!(algorithm.requirements().at_sampling_temperature, tempered);
        let (exp, _) = algorithm.prepare(experience(&samples)).unwrap();
        let totals = algorithms::Totals::of(&exp);
        let at = vec![if tempered { TEMPERATURE } else { 1.0 }; 6];

        // Stage two: one forward with graph over all rows.
        let batch = Batch::new(rows.iter().map(|(ids, n)| (ids.as_slice(), *n)));
        let one = policy::score(policy.model(), Some(&lora), &batch, &at, None).unwrap();
        // The other way: a forward with graph before each token.
        let steps = token_by_token(&policy, &lora, &rows, at[0]);
        assert_close("log-probabilities", &one.logp, &steps.0, 1e-5);

        let [one, steps] = [(one.logp, one.entropy), steps].map(|(logp, entropy)| {
            let now = algorithms::Scores { logp, entropy };
            let loss = algorithm.policy_loss(&now, &exp, totals).unwrap().loss;
            loss.backward().unwrap()
        });
        assert_equal_gradients(mode, &lora.vars(), &one, &steps);
    }
}

/// Stage one: three samples each of two prompts, without a graph. Samples, and rows of prompt and
/// response with the prompt's length.
fn samples(policy: &Policy, lora: &Lora) -> (Vec<Sample>, Vec<(Vec<u32>, usize)>) {
    let prompts = [
        "Repeat these words: cherry hotel.",
        "Say these words backwards: plane fox.",
    ]
    .map(|text| {
        let ask = data::Ask::Instruction {
            instruction: text.into(),
            input: String::new(),
        };
        policy
            .encoder
            .prompt(&data::Prompt::new(ask, None))
            .unwrap()
    });
    let sampling = Sampling {
        temperature: TEMPERATURE,
        max_new_tokens: 7,
        ..Default::default()
    };
    let requests: Vec<Request> = (0..2)
        .map(|i| Request {
            prompt: prompts[i].clone(),
            n: 3,
            sampling,
            stream: [5, 0, i as u64],
        })
        .collect();
    let frozen = lora.frozen();
    let engine = Engine {
        model: policy.model(),
        lora: Some(&frozen),
        stop: &policy.encoder.ends().stop,
        max_rows: 8,
        keep_states: false,
    };
    let samples = engine.run(&requests, &mut |_, _| {}).unwrap();
    let rows: Vec<(Vec<u32>, usize)> = samples
        .iter()
        .map(|s| {
            (
                [prompts[s.request].as_slice(), &s.ids].concat(),
                prompts[s.request].len(),
            )
        })
        .collect();
    (samples, rows)
}

/// The columns that the loop would give ESRL, with made-up scores.
fn experience(samples: &[Sample]) -> Experience {
    let flat = |column: fn(&Sample) -> &Vec<f32>| {
        samples
            .iter()
            .flat_map(|s| column(s).clone())
            .collect::<Vec<_>>()
    };
    Experience {
        lens: samples.iter().map(|s| s.ids.len()).collect(),
        prompt_key: samples.iter().map(|s| s.request as u64).collect(),
        finished: samples.iter().map(|s| s.finish == Finish::Stop).collect(),
        temperature: vec![TEMPERATURE; 6],
        score: vec![0.3, -1.2, 0.9, 0.1, 1.4, -0.6],
        logp_sampled: flat(|s| &s.logps),
        logp_old: flat(|s| &s.logps),
        logp_ref: flat(|s| &s.logps),
        kl_exact: vec![0.0; samples.iter().map(|s| s.ids.len()).sum()],
        entropy: flat(|s| &s.entropies),
        max_prob: flat(|s| &s.max_probs),
        ..Default::default()
    }
}

/// Equal relative to the largest, which is not 0; every tensor has some.
fn assert_equal_gradients(mode: &str, vars: &[(String, Var)], one: &GradStore, steps: &GradStore) {
    let [one, steps] = [one, steps].map(|grads| {
        let of = |(_, var): &(String, Var)| testkit::values(grads.get(var).unwrap());
        vars.iter().map(of).collect::<Vec<_>>()
    });
    let largest = one.iter().flatten().fold(0f64, |m, v| m.max(v.abs()));
    assert!(
        largest > 1e-5,
        "{mode}: gradients of {largest} prove nothing"
    );
    for (i, (name, _)) in vars.iter().enumerate() {
        let relative = |g: &Vec<f64>| g.iter().map(|v| v / largest).collect::<Vec<_>>();
        let name = format!("{mode}: gradient of {name}");
        assert_close_slices(&name, &relative(&steps[i]), &relative(&one[i]), 1e-4);
        assert!(
            one[i].iter().any(|v| v.abs() > 1e-3 * largest),
            "{name} is nearly zero"
        );
    }
}

/// Log-probability and entropy of each response token, each from a forward over its own prefix.
fn token_by_token(
    policy: &Policy,
    lora: &Lora,
    rows: &[(Vec<u32>, usize)],
    temperature: f32,
) -> (Tensor, Tensor) {
    let mut parts = Vec::new();
    for (ids, n_prompt) in rows {
        for at in *n_prompt..ids.len() {
            let layout = ops::Ragged::from_lens(&[at]);
            let hidden = policy
                .model()
                .hidden(&ids[..at], &layout, Some(lora), None)
                .unwrap();
            let last = hidden.narrow(0, at - 1, 1).unwrap();
            parts.push(
                ops::token_scores(&last, policy.model().head(), &ids[at..=at], &[temperature])
                    .unwrap(),
            );
        }
    }
    let join = |part: fn(&ops::TokenScores) -> &Tensor| {
        Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0).unwrap()
    };
    (join(|s| &s.logp), join(|s| &s.entropy))
}
