//! What a report says of the stages' settings is what they are.

use super::{inspected, shape};
use run::load_config;

#[test]
fn the_held_out_share_and_the_longest_row_are_the_stages_own() {
    let sets = |keys: &[&str]| -> Vec<String> {
        let keys = keys.iter().chain(&["data.path=x"]);
        keys.map(|key| key.to_string()).collect()
    };
    let sft: sft::Config = load_config(None, &sets(&["model.source=x"])).unwrap();
    let rm: reward_model::Config = load_config(None, &sets(&["model.source=x"])).unwrap();
    let keys = ["model.policy=x", "model.reward=y", "algorithm.name=ppo"];
    let rlhf: esrl_rlhf::Config = load_config(None, &sets(&keys)).unwrap();
    for (name, held_out, max_len) in [
        ("alpaca.json", sft.data.held_out, sft.data.max_len),
        ("preference.jsonl", rm.data.held_out, rm.data.max_len),
        (
            "fastchat.jsonl",
            rlhf.data.held_out,
            rlhf.data.max_prompt_len,
        ),
    ] {
        let report = inspected(&shape(name)).unwrap();
        assert_eq!(report.held_out.share, held_out, "{name}");
        assert_eq!(report.lengths.unwrap().max_len, max_len, "{name}");
    }
}
