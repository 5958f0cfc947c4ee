//! RL on sources of reward other than the reward model, and on several at once.

use super::bad_input::refused;
use super::same::{assert_same, check_resume};
use super::world::{World, tiny};
use std::fs;
use testkit::assert_close_slices;

/// A program that scores each item by its place in the request. It exits after `n` requests, until
/// the file `fixed` exists.
fn process(world: &World, n: usize) -> String {
    let script = r#"while read -r line; do
  echo x >> COUNT; [ "$(wc -l < COUNT)" -gt LIMIT ] && [ ! -e FIXED ] && exit 7
  printf '%s\n' "$line" | awk '{ id = $0; sub(/^{"id":/, "", id); sub(/,.*/, "", id); n = gsub(/"response":/, "")
    s = ""; for (i = 0; i < n; i++) s = s (i ? "," : "") i / 4
    print "{\"id\":" id ",\"scores\":[" s "]}" }'
done"#;
    let script = script
        .replace("COUNT", &world.text("count"))
        .replace("FIXED", &world.text("fixed"))
        .replace("LIMIT", &n.to_string());
    let file = world.write("score.sh", &script);
    format!("{{kind=\"process\",command=[\"sh\",\"{file}\"],retries=1}}")
}

#[test]
fn a_run_learns_from_the_weighted_sum_and_logs_each_source() {
    let world = World::with_reward();
    let process = process(&world, 1000);
    let rewards = format!(
        "rewards=[{{kind=\"model\"}},{{kind=\"length\",target=5,weight=2}},{process},\
         {{kind=\"format\",must_match=\"[a-z]\",weight=-0.5}}]"
    );
    world
        .rl("mixed", &format!("algorithm.name=ppo {rewards}"))
        .unwrap();
    for step in 1..=4 {
        let at = world.at("mixed", step);
        let sum = at["reward/model"] + 2.0 * at["reward/length"] + at["reward/process"]
            - 0.5 * at["reward/format"];
        assert_close_slices("scores", &[at["objective/scores"]], &[sum], 1e-5);
        assert_close_slices("process", &[at["reward/process"]], &[1.5 / 4.0], 1e-6);
    }
    for step in [0, 2, 4] {
        let at = world.at("mixed", step);
        let sum =
            at["eval/reward_model"] + 2.0 * at["eval/reward_length"] + at["eval/reward_process"]
                - 0.5 * at["eval/reward_format"];
        assert_close_slices("evaluation", &[at["eval/reward"]], &[sum], 1e-5);
    }
    // once for the four steps, and once for each evaluation
    assert_eq!(
        fs::read_to_string(world.path("count"))
            .unwrap()
            .lines()
            .count(),
        4 + 3
    );

    // the reward model alone is what a run without [[rewards]] learns from
    let sets = "algorithm.name=ppo train.keep_checkpoints=9";
    world.rl("plain", sets).unwrap();
    world
        .rl("named", &format!("{sets} rewards=[{{kind=\"model\"}}]"))
        .unwrap();
    assert_same(&world, "plain", "named");
    assert_eq!(world.settings("plain"), world.settings("named"));
    let at = world.at("plain", 1);
    assert_eq!(at["reward/model"], at["objective/scores"]);
    assert!(!at.contains_key("eval/reward_model"));
}

#[test]
fn a_run_needs_no_reward_model() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    let answers = format!("data.path={}", tiny("demonstrations.json"));
    let bleu = "rewards=[{kind=\"bleu\"},{kind=\"rouge_l\",weight=0}]";
    world
        .rl_by(
            "bleu",
            &format!("algorithm.name=reinforce {answers} {bleu}"),
        )
        .unwrap();
    for at in (1..=4).map(|step| world.at("bleu", step)) {
        assert_eq!(at["reward/bleu"], at["objective/scores"]);
        assert!((0.0..=1.0).contains(&at["reward/rouge_l"]));
    }
    assert!(world.info("bleu").get("reward").is_none());
    let rule = "rewards=[{kind=\"length\",target=8,normalise=\"batch\"}] train.critic_init=zero";
    world
        .rl_by("rule", &format!("algorithm.name=ppo {rule}"))
        .unwrap();
    for score in world.curve("rule", "objective/scores") {
        assert!(
            score.abs() < 1e-5,
            "the mean of a normalised batch is {score}"
        );
    }
    assert!(
        world
            .curve("rule", "reward/length")
            .iter()
            .all(|mean| *mean > 0.0)
    );
    // evaluations are on the rule's own scale
    assert!(
        world
            .curve("rule", "eval/reward")
            .iter()
            .all(|mean| (0.0..=1.0).contains(mean))
    );
}

const RUNNING: &str = "rewards=[{kind=\"model\",normalise=\"running\",clip=[-2,2]},\
                       {kind=\"length\",target=5,normalise=\"running\",weight=0.5}]";

#[test]
fn running_normalisation_resumes_exactly() {
    let sets = format!("algorithm.name=ppo {RUNNING}");
    check_resume(&World::with_reward(), World::rl, "train.steps", &sets);
}

#[test]
fn running_normalisation_of_a_pool_resumes_exactly() {
    let world = World::with_reward();
    let sets = format!(
        "algorithm.name=rest algorithm.improve_steps=1 algorithm.thresholds=[0.0,0.01] algorithm.samples=2 data.path={} data.max_rows=9 {RUNNING}",
        tiny("demonstrations.json")
    );
    check_resume(&world, World::rl, "train.steps", &sets);
    // killed when the first pool was scored and kept, before any checkpoint
    world.copy("whole", "early");
    let early = world.path("early");
    fs::remove_dir_all(early.join("checkpoints")).unwrap();
    world.forget_sums("early");
    let info = early.join("run.json");
    let text = fs::read_to_string(&info).unwrap();
    fs::write(
        info,
        text.replace(r#""status":"finished""#, r#""status":"running""#),
    )
    .unwrap();
    for entry in fs::read_dir(&early).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("pool-") && name != "pool-000000.jsonl" {
            fs::remove_file(file).unwrap();
        }
    }
    world
        .rl(
            "early",
            &format!("resume {sets} train.keep_checkpoints=9 train.steps=4"),
        )
        .unwrap();
    assert_same(&world, "whole", "early");
}

#[test]
fn a_failing_process_stops_the_run_which_resumes_once_it_is_fixed() {
    let world = World::with_reward();
    let rewards = process(&world, 4); // evaluation, steps 1 and 2, evaluation; dies in step 3
    let sets = format!(
        "algorithm.name=ppo train.keep_checkpoints=9 rewards=[{rewards},{{kind=\"model\"}}]"
    );
    let error = world.rl("run", &sets).expect_err("the process died");
    let line = run::one_line(&error);
    assert!(!line.contains('\n'), "{line}");
    for part in [
        "step 3: reward process: the program `sh ",
        "failed 2 times; the last time it ended (exit status: 7)",
        "the last good checkpoint is",
        "step-000002",
        "go on with --resume",
    ] {
        assert!(line.contains(part), "{line} lacks {part}");
    }
    assert_eq!(world.info("run")["status"], "failed");
    world.write("fixed", "");
    world.rl("run", &format!("resume {sets}")).unwrap();
    world.rl("whole", &sets).unwrap();
    assert_same(&world, "whole", "run");

    // the same before the first step
    fs::remove_file(world.path("fixed")).unwrap();
    let line = run::one_line(&world.rl("none", &sets).expect_err("the process is broken"));
    assert!(line.starts_with("step 0: reward process: "), "{line}");
    assert!(line.contains("no checkpoint was written yet"), "{line}");
    world.write("fixed", "");
    world.rl("none", &format!("resume {sets}")).unwrap();
    assert_same(&world, "whole", "none");
}

#[test]
fn invalid_rewards_are_refused_before_anything_is_loaded() {
    let world = World::new();
    world.write(
        "prompts.json",
        r#"[{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d", "chosen": "e", "rejected": "f"}]"#,
    );
    // there is no policy, but for rewards that need the rows
    let base = tiny("base");
    let rl = |sets: &str| world.rl_by("out", &format!("algorithm.name=reinforce {sets}"));
    refused(
        &world,
        rl(""),
        &["learns from scores", "model.reward", "[[rewards]]"],
    );
    refused(
        &world,
        rl("rewards=[{kind=\"model\"}]"),
        &["[[rewards]] has a source of kind \"model\"", "model.reward"],
    );
    refused(
        &world,
        rl(&format!(
            "model.policy={base} rewards=[{{kind=\"bleu\"}}] data.path=~/prompts.json"
        )),
        &[
            "prompts.json",
            "compare with reference answers",
            "have none",
        ],
    );
    let answers = tiny("demonstrations.json");
    refused(
        &world,
        rl(&format!(
            "model.policy={base} rewards=[{{kind=\"bleu\"}}] data.path={answers} data.eval_path=~/prompts.json"
        )),
        &["prompts.json", "held out for evaluation have none"],
    );
    for (rewards, expected) in [
        ("{kind=\"blue\"}", "did you mean \"bleu\"?"),
        ("{kind=\"bleu\",target=4}", "unknown key \"target\""),
        (
            "{kind=\"length\"}",
            "rewards[0] (length) needs target, min or max",
        ),
        (
            "{kind=\"process\",command=[\"no-such-program\"]}",
            "there is no such program",
        ),
        (
            "{kind=\"http\",url=\"http://host\",key_env=\"WICK_NO_SUCH_KEY\"}",
            "is not set",
        ),
    ] {
        refused(
            &world,
            rl(&format!("rewards=[{rewards}]")),
            &["rewards[0]", expected],
        );
    }
    let ppo = "algorithm.name=ppo rewards=[{kind=\"length\",target=4}]";
    refused(
        &world,
        world.rl_by("out", ppo),
        &["train.critic_init = \"reward\"", "zero"],
    );
}

/// A new run cannot learn from sources that all weigh nothing; one of an older version goes on.
#[test]
fn sources_that_all_have_weight_0_are_refused() {
    let world = World::with_reward();
    let sets = |weights: [i32; 2]| {
        let [model, length] = weights;
        format!(
            "algorithm.name=rloo rewards=[{{kind=\"model\",weight={model}}},\
             {{kind=\"length\",target=5,weight={length}}}]"
        )
    };
    let expected = "every source of [[rewards]] has weight = 0, so all responses score 0 and \
                    nothing is learnt; give one a weight";
    refused(&world, world.rl("out", &sets([0, 0])), &[expected]);
    world
        .rl("one", &format!("{} train.steps=1", sets([0, 1])))
        .unwrap();
    let at = world.at("one", 1);
    assert_eq!(at["objective/scores"], at["reward/length"]);
}

#[test]
fn a_reward_model_that_only_the_critic_starts_from_is_said_once() {
    let world = World::with_reward();
    let sets = "algorithm.name=ppo model.reward=~/rm train.steps=1";
    let length = "rewards=[{kind=\"length\",target=5}]";
    world.rl_by("critic", &format!("{sets} {length}")).unwrap();
    let note = "the critic starts from model.reward, which scores nothing: [[rewards]] has no source \
                of kind \"model\"";
    assert_eq!(world.info("critic")["notes"]["reward"], note);
    let both = "rewards=[{kind=\"length\",target=5},{kind=\"model\"}]";
    for (run, rewards) in [("both", both), ("model", "")] {
        world.rl_by(run, &format!("{sets} {rewards}")).unwrap();
        assert!(world.info(run)["notes"].get("reward").is_none(), "{run}");
    }
}
