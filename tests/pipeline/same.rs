//! What must not change a result: an interruption, the size of a micro-batch, how many rows are decoded together, and
//! whether a gradient comes from one teacher-forced forward or from token by token.

use super::world::World;
use anyhow::Result;
use candle_core::Tensor;
use models::Lora;
use policy::Batch;
use std::fs;
use testkit::{assert_close, assert_close_slices};

pub type Stage = fn(&World, &str, &str) -> Result<()>;

/// Two steps, then two more by `--resume`, against four in one go.
#[track_caller]
pub fn check_resume(world: &World, stage: Stage, steps: &str, sets: &str) {
    stage(
        world,
        "whole",
        &format!("{sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    stage(
        world,
        "parts",
        &format!("{sets} train.keep_checkpoints=9 {steps}=2"),
    )
    .unwrap();
    stage(
        world,
        "parts",
        &format!("resume {sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    assert_same(world, "whole", "parts");
    assert_eq!(world.info("parts")["resumed"].as_array().unwrap().len(), 1);

    // Killed in step 4 after the checkpoint of step 2: rows too many, half a row, half a checkpoint, no result yet.
    world.copy("whole", "killed");
    let killed = world.path("killed");
    fs::remove_dir_all(killed.join("checkpoints/step-000004")).unwrap();
    fs::create_dir(killed.join("checkpoints/.tmp-abc")).unwrap();
    let metrics = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    fs::write(killed.join("metrics.jsonl"), &metrics[..metrics.len() - 9]).unwrap();
    stage(
        world,
        "killed",
        &format!("resume {sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    assert_same(world, "whole", "killed");
}

#[track_caller]
pub fn assert_same(world: &World, a: &str, b: &str) {
    assert_eq!(world.metrics(a), world.metrics(b));
    let (a, b) = (world.content(a), world.content(b));
    let names =
        |c: &std::collections::BTreeMap<String, Vec<u8>>| c.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    assert!(a.len() > 6, "{:?}", names(&a));
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{name} differs");
    }
}

#[test]
fn resumed_sft_equals_an_uninterrupted_run() {
    check_resume(
        &World::new(),
        World::sft,
        "train.max_steps",
        "lora.dropout=0.1",
    );
}

#[test]
fn resumed_full_sft_equals_an_uninterrupted_run() {
    check_resume(&World::new(), World::sft, "train.max_steps", "method=full");
}

#[test]
fn a_resumed_reward_model_equals_an_uninterrupted_run() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    check_resume(
        &world,
        World::reward,
        "train.max_steps",
        "reward.center_coefficient=0.01",
    );
}

#[test]
fn resumed_ppo_equals_an_uninterrupted_run() {
    let sets = "algorithm.name=ppo algorithm.epochs=2 algorithm.minibatches=2 algorithm.kl_controller=adaptive \
                algorithm.kl_horizon=10 train.critic_warmup_steps=1";
    check_resume(&World::with_reward(), World::rl, "train.steps", sets);
}

#[test]
fn resumed_esrl_equals_an_uninterrupted_run() {
    // 6 prompts, 4 a step: they come back, and the memory of their capability counts.
    let sets = "algorithm.name=esrl data.max_rows=7 data.held_out=0.15";
    check_resume(&World::with_reward(), World::rl, "train.steps", sets);
}

#[test]
fn every_resumed_method_equals_an_uninterrupted_run() {
    let world = World::with_reward();
    for entry in algorithms::registry() {
        let name = entry.name;
        let algorithm = algorithms::build(name, &serde_json::json!({}), 1).unwrap();
        let data = match algorithm.requirements().source {
            algorithms::DataSource::Rollouts => "",
            algorithms::DataSource::Pool(_) => "demonstrations.json",
            algorithms::DataSource::Pairs => "comparisons.json",
        };
        let data = match data {
            "" => String::new(),
            file => format!("data.path={}", super::world::tiny(file)),
        };
        let sets = format!("algorithm.name={name} {data} train.keep_checkpoints=9");
        let run = |part: &str| format!("{name}-{part}");
        world
            .rl(&run("whole"), &format!("{sets} train.steps=4"))
            .unwrap();
        world
            .rl(&run("parts"), &format!("{sets} train.steps=2"))
            .unwrap();
        world
            .rl(&run("parts"), &format!("resume {sets} train.steps=4"))
            .unwrap();
        assert_same(&world, &run("whole"), &run("parts"));
    }
}

/// Metrics and trained tensors of two runs, within rounding.
#[track_caller]
fn assert_near(world: &World, a: &str, b: &str, step: u64) {
    let (rows_a, rows_b) = (world.metrics(a), world.metrics(b));
    assert_eq!(rows_a.len(), rows_b.len());
    for (a, b) in rows_a.iter().zip(&rows_b) {
        for (name, value) in &a.metrics {
            // a variance of rounding errors is rounding
            assert_close_slices(name, &[b.metrics[name]], &[*value], 1e-5);
        }
    }
    let (a, b) = (world.params(a, step), world.params(b, step));
    for (name, tensor) in &a {
        assert_close(name, &b[name], tensor, 1e-5);
    }
}

#[test]
fn micro_batches_change_nothing() {
    let world = World::with_reward();
    let gentle = "train.optimizer.lr=1e-3 train.optimizer.eps=1e-3 train.max_steps=2";
    for (name, tokens) in [("one", 4096), ("many", 50)] {
        world
            .sft(
                &format!("sft-{name}"),
                &format!("{gentle} train.micro_batch_tokens={tokens}"),
            )
            .unwrap();
        world
            .reward(
                &format!("rm-{name}"),
                &format!("{gentle} train.micro_batch_tokens={tokens}"),
            )
            .unwrap();
        for algorithm in ["ppo", "esrl"] {
            let sets = format!(
                "algorithm.name={algorithm} train.steps=2 train.policy.lr=1e-3 train.policy.eps=1e-3 \
                 train.critic.lr=1e-3 train.critic.eps=1e-3 train.micro_batch_tokens={tokens}"
            );
            world.rl(&format!("{algorithm}-{name}"), &sets).unwrap();
        }
    }
    for stage in ["sft", "rm", "ppo", "esrl"] {
        assert_near(&world, &format!("{stage}-one"), &format!("{stage}-many"), 2);
    }
}

#[test]
fn rows_decoded_together_change_no_sample() {
    let world = World::with_reward();
    let sets = "algorithm.name=esrl train.steps=2 train.policy.lr=1e-3 train.policy.eps=1e-3";
    for rows in [1, 3, 32] {
        world
            .rl(
                &format!("rows-{rows}"),
                &format!("{sets} rollout.max_rows={rows}"),
            )
            .unwrap();
    }
    for rows in [1, 3] {
        for step in [1, 2] {
            let [a, b] = [rows, 32].map(|r| {
                fs::read_to_string(world.path(&format!("rows-{r}/samples/step-{step:06}.md")))
                    .unwrap()
            });
            assert_eq!(a, b, "{rows} rows, step {step}");
        }
        assert_near(&world, "rows-32", &format!("rows-{rows}"), 2);
    }
}

/// ESRL's claim: sampling without a graph and one teacher-forced forward give the gradient that a graph through every
/// step of the sampling would.
#[test]
fn the_two_stage_gradient_equals_the_token_by_token_gradient() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    let policy = policy::Policy::open(
        &world.text("sft"),
        policy::TemplateChoice::Auto,
        &candle_core::Device::Cpu,
    )
    .unwrap();
    let model = policy.model();
    let lora = policy.adapter.as_ref().unwrap().trainable().unwrap();

    // stage one: three samples each of two prompts, without a graph
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
            .prompt(&data::Prompt {
                ask,
                reference: None,
            })
            .unwrap()
    });
    let temperature = 0.8;
    let sampling = generation::Sampling {
        temperature,
        max_new_tokens: 7,
        ..Default::default()
    };
    let requests: Vec<generation::Request> = (0..2)
        .map(|i| generation::Request {
            prompt: prompts[i].clone(),
            n: 3,
            sampling,
            stream: [5, 0, i as u64],
        })
        .collect();
    let frozen = lora.frozen();
    let engine = generation::Engine {
        model,
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

    for (mode, tempered) in [("paper", false), ("corrected", true)] {
        let mut algorithm = algorithms::build(
            "esrl",
            &serde_json::json!({"mode": mode, "kl_coef": 0.0}),
            1,
        )
        .unwrap();
        assert_eq!(algorithm.requirements().at_sampling_temperature, tempered);
        let flat = |column: fn(&generation::Sample) -> &Vec<f32>| {
            samples
                .iter()
                .flat_map(|s| column(s).clone())
                .collect::<Vec<_>>()
        };
        let exp = algorithms::Experience {
            lens: samples.iter().map(|s| s.ids.len()).collect(),
            prompt_key: samples.iter().map(|s| s.request as u64).collect(),
            finished: samples
                .iter()
                .map(|s| s.finish == generation::Finish::Stop)
                .collect(),
            temperature: vec![temperature; 6],
            score: vec![0.3, -1.2, 0.9, 0.1, 1.4, -0.6],
            logp_sampled: flat(|s| &s.logps),
            logp_old: flat(|s| &s.logps),
            logp_ref: flat(|s| &s.logps),
            kl_exact: vec![0.0; samples.iter().map(|s| s.ids.len()).sum()],
            entropy: flat(|s| &s.entropies),
            max_prob: flat(|s| &s.max_probs),
            ..Default::default()
        };
        let (exp, _) = algorithm.prepare(exp).unwrap();
        let totals = algorithms::Totals::of(&exp);
        let at = vec![if tempered { temperature } else { 1.0 }; 6];

        // stage two: one forward with graph over all rows
        let batch = Batch::new(rows.iter().map(|(ids, n)| (ids.as_slice(), *n)));
        let one = policy::score(model, Some(&lora), &batch, &at, None).unwrap();
        // and a forward with graph before each token
        let steps = token_by_token(&policy, &lora, &rows, at[0]);
        assert_close("log-probabilities", &one.logp, &steps.0, 1e-5);

        let [grads_one, grads_steps] = [(one.logp, one.entropy), steps].map(|(logp, entropy)| {
            let now = algorithms::Scores { logp, entropy };
            algorithm
                .policy_loss(&now, &exp, totals)
                .unwrap()
                .loss
                .backward()
                .unwrap()
        });
        let vars = lora.vars();
        let [one, steps] = [&grads_one, &grads_steps].map(|grads| {
            let of =
                |(_, var): &(String, candle_core::Var)| testkit::values(grads.get(var).unwrap());
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
}

/// Log-probability and entropy of each response token, each from a forward over its own prefix.
fn token_by_token(
    policy: &policy::Policy,
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
