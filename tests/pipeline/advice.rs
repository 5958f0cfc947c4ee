//! The choice of checkpointed layers under a memory limit, and the change suggested if nothing
//! fits.

use super::memory::work;
use super::world::{World, tiny};
use crate::common::tiny_config;
use planning::{Estimate, Scoring, fewest_layers};
use serde_json::json;

#[test]
fn the_fewest_checkpointed_layers_are_chosen_or_a_change_suggested() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let work = work(&config, 4000);
    let total = |layers| Estimate::of(&work, layers).total();
    assert_eq!(fewest_layers(&work, None, None).unwrap(), 0);
    let choose = |budget| fewest_layers(&work, Some(budget), Some(budget / 1e9));
    assert_eq!(choose(total(0)).unwrap(), 0);
    for layers in 2..=6 {
        assert_eq!(choose(total(layers)).unwrap(), layers);
        assert_eq!(choose(total(layers) + 1.0).unwrap(), layers);
    }
    let error = choose(total(6) - 1.0).unwrap_err().to_string();
    assert!(
        error.ends_with("lower train.micro_batch_tokens to 3999"),
        "{error}"
    );
    let mut half = work.clone();
    half.forwards.largest.tokens = 2000;
    let error = choose(Estimate::of(&half, 6).total()).unwrap_err();
    assert!(error.to_string().ends_with("to 2000"), "{error}");
    let error = choose(1e6).unwrap_err().to_string();
    assert!(
        error.contains("even one sequence of 100 tokens needs"),
        "{error}"
    );
    let error = fewest_layers(&work, Some(total(6) - 1.0), None).unwrap_err();
    assert!(error.to_string().contains("GB are free"), "{error}");
}

#[test]
fn unavoidable_memory_for_scores_is_reported() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let mut work = work(&config, 200);
    work.scoring = Scoring {
        micro_batched: 5000,
        whole: 4096,
        longest: 100,
    };
    let at = |micro_batched: usize| {
        let mut less = work.clone();
        less.scoring.micro_batched = micro_batched;
        Estimate::of(&less, 6)
    };
    assert!(at(200).scoring > at(200).activations());
    // the micro-batch is lowered only as far as it helps
    let error_at = |budget: f64| {
        let error = fewest_layers(&work, Some(budget), Some(budget / 1e9));
        error.unwrap_err().to_string()
    };
    let mut wide = work.clone();
    wide.forwards.largest.tokens = 5000;
    let budget = {
        let mut less = wide.clone();
        (less.forwards.largest.tokens, less.scoring.micro_batched) = (4500, 4500);
        Estimate::of(&less, 6).total()
    };
    let error = fewest_layers(&wide, Some(budget), None).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("lower train.micro_batch_tokens to 4500"),
        "{error}"
    );
    let error = error_at(at(200).total() - 1.0);
    assert!(
        error.contains("scoring 4096 tokens together needs"),
        "{error}"
    );
    assert!(!error.contains("micro_batch_tokens"), "{error}");
}

/// Limits from the peak without a limit down to one that nothing can meet, for steps that score few
/// tokens and for steps that score thousands.
#[test]
fn every_suggested_change_makes_the_run_fit() {
    let world = World::new();
    for (kind, more) in [
        ("graph", "rollout.prompts=8"),
        ("scores", "rollout.prompts=64"),
    ] {
        let sets = format!(
            "model.policy=~/base algorithm.name=ppo data.path={} data.max_rows=200 train.steps=2 {more}",
            tiny("prompts.json")
        );
        let plan = |more: &str| world.plan("esrl-rlhf", &format!("{sets} {more}"));
        let most = plan("train.checkpoint_blocks=2").unwrap();
        let gb = |what: &str| most["memory"][what].as_f64().unwrap();
        let top = gb("estimate_gb");
        let least = gb("weights_gb") + gb("adapters_gb");
        let (mut helped, mut refused) = (0, String::new());
        for part in 1..60 {
            let limit = top - (top - least) * f64::from(part) / 60.0;
            let limit = format!("train.memory_gb={limit:.7}");
            let Err(error) = plan(&limit) else { continue };
            let error = run::one_line(&error);
            let mut changed = limit.clone();
            for key in ["train.micro_batch_tokens", "rollout.max_rows"] {
                if let Some((_, rest)) = error.split_once(&format!("{key} to ")) {
                    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
                    changed += &format!(" {key}={digits}");
                }
            }
            match changed == limit {
                true => refused = error,
                false => {
                    helped += 1;
                    plan(&changed).expect(&error);
                }
            }
        }
        assert!(helped > 3, "{kind}: {helped}");
        assert!(
            refused.contains("tokens together needs"),
            "{kind}: {refused}"
        );
    }
}
