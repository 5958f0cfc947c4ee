//! The last lines of each stage: what came out, where it is, and the command that goes on.

use super::world::World;
use crate::common::again_in_a_child;

/// Whether a line is `WORDS <number> → <number>` and so on, numbers written as `#`.
fn shape(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word.trim_end_matches([';', ')', ',']);
        match number.parse::<f64>() {
            Ok(_) => word.replace(number, "#"),
            Err(_) => word.to_string(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_stage_ends_with_what_came_out_and_the_next_command() {
    const CHILD: &str = "STAGE_END_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let world = World::new();
        let falls = "train.optimizer.schedule=linear";
        world.sft("sft", falls).unwrap();
        world.reward("rm", "").unwrap();
        let ppo = "algorithm.name=ppo train.policy.lr=1e-5 train.policy.schedule=linear train.critic.schedule=linear";
        world.rl("ppo", ppo).unwrap();
        world.reward("based", "model.base=~/base").unwrap();
        world
            .rl("ppo-based", &format!("{ppo} model.base=~/base"))
            .unwrap();
        // with nothing left to do
        world.sft("sft", &format!("resume {falls}")).unwrap();
        let epoch = "data.max_rows=5 train.epochs=1 train.max_steps=";
        world.reward("short", epoch).unwrap();
        world.reward("short", &format!("resume {epoch}")).unwrap();
        world.rl("ppo", &format!("resume {ppo}")).unwrap();
        for run in ["sft", "short", "ppo"] {
            assert_eq!(world.info(run)["status"], "finished");
        }
        let longer = format!("resume {ppo} train.steps=8");
        world.rl("ppo", &longer).unwrap();
        let longer = format!("resume {falls} train.max_steps=8");
        world.sft("sft", &longer).unwrap();
        run::say!("ROOT {}", world.path("").display());
        return;
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    let root = text.lines().find_map(|line| line.strip_prefix("ROOT "));
    let root = root.unwrap_or_else(|| panic!("{text}"));
    let lines: Vec<String> = text
        .lines()
        .map(|l| shape(&l.replace(root, "~/")))
        .collect();
    for wanted in [
        "training loss # → #; held-out loss # → #",
        "result: ~/sft/adapter",
        "next: reward-model --set model.source=~/sft --set data.path=PAIRS --run runs/rm",
        "held-out loss # → #; held-out accuracy # → # (the longer answer wins: #)",
        "result: ~/rm/reward",
        "next: esrl-rlhf --set model.policy=~/sft --set model.reward=~/rm --set data.path=PROMPTS \
         --set algorithm.name=ppo --run runs/ppo",
        "held-out reward # → #; reward # → #; exact KL # → #",
        "result: ~/ppo/adapter",
        "next: evaluate compare --runs ~/sft ~/ppo",
        "next: esrl-rlhf --set model.policy=~/sft --set model.base=~/base --set model.reward=~/based \
         --set data.path=PROMPTS --set algorithm.name=ppo --run runs/ppo",
        "next: evaluate compare --runs ~/sft ~/ppo-based --base ~/base",
        "~/sft is finished already: step # is the last one by train.max_steps; raise \
         train.max_steps to go on",
        "~/short is finished already: step # is the last one by train.epochs; raise train.epochs \
         to go on",
        "~/ppo is finished already: step # is the last one by train.steps; raise train.steps to go \
         on",
        "train.max_steps: from here on the schedule is that of a run of # steps: the learning rate \
         goes from # at step # to # at step #",
        "train.steps: from here on the schedule is that of a run of # steps: the policy's learning \
         rate goes from # at step # to # at step #, the critic's from # at step # to # at step #",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}\n{text}");
    }
}
