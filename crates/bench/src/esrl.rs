//! ESRL against our own PPO: the same prompts per step, the same maximum of samples per prompt, the
//! same reward model, LoRA, lengths and micro-batches. docs/methods/esrl.md explains what is
//! compared and why.

use crate::figures::Figures;
use crate::report;
use crate::rows::BATCH;
use crate::setup::Setup;
use crate::stage_run::StageRun;
use crate::timing::Timing;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

pub(crate) const NAME: &str = "esrl_vs_ppo";

/// A timed run: a file of configs/bench and the keys that differ from it.
struct Contender {
    name: &'static str,
    config: &'static str,
    sets: &'static [&'static str],
    /// New prompts at each step, as in a first epoch; else those of the step before, as in a later
    /// epoch.
    fresh: bool,
}

const CONTENDERS: [Contender; 8] = [
    Contender {
        name: "ppo",
        config: "ppo",
        sets: &[],
        fresh: false,
    },
    Contender {
        name: "esrl",
        config: "esrl",
        sets: &[],
        fresh: false,
    },
    Contender {
        name: "esrl_first_epoch",
        config: "esrl",
        sets: &[],
        fresh: true,
    },
    Contender {
        name: "esrl_paper",
        config: "esrl",
        sets: &["algorithm.mode=paper"],
        fresh: false,
    },
    Contender {
        name: "ppo_shipped",
        config: "ppo",
        sets: SHIPPED_PPO,
        fresh: false,
    },
    Contender {
        name: "esrl_shipped",
        config: "esrl",
        sets: SHIPPED,
        fresh: false,
    },
    Contender {
        name: "ppo_one_sample",
        config: "ppo",
        sets: &["algorithm.samples=1"],
        fresh: false,
    },
    Contender {
        name: "esrl_released",
        config: "esrl-released",
        sets: &[],
        fresh: false,
    },
];

/// As in configs/smollm2-135m.
const SHIPPED: &[&str] = &["algorithm.minibatches=2", "train.micro_batch_tokens=1024"];
const SHIPPED_PPO: &[&str] = &[
    "algorithm.epochs=2",
    "algorithm.minibatches=2",
    "train.micro_batch_tokens=1024",
];

/// Two contenders that are compared.
struct Pair {
    name: &'static str,
    about: &'static str,
    esrl: &'static str,
    ppo: &'static str,
    /// Responses that PPO draws
    full: f64,
}

/// The first pair is the headline; the others vary its settings.
const PAIRS: [Pair; 5] = [
    Pair {
        name: "later_epochs",
        about: "≤ 4 samples, prompts met before",
        esrl: "esrl",
        ppo: "ppo",
        full: 32.0,
    },
    Pair {
        name: "first_epoch",
        about: "≤ 4 samples, prompts met for the first time",
        esrl: "esrl_first_epoch",
        ppo: "ppo",
        full: 32.0,
    },
    Pair {
        name: "paper",
        about: "≤ 4 samples, mode paper",
        esrl: "esrl_paper",
        ppo: "ppo",
        full: 32.0,
    },
    Pair {
        name: "shipped",
        about: "≤ 4 samples, passes and micro-batches of configs/smollm2-135m",
        esrl: "esrl_shipped",
        ppo: "ppo_shipped",
        full: 32.0,
    },
    Pair {
        name: "released",
        about: "1 sample, mode released",
        esrl: "esrl_released",
        ppo: "ppo_one_sample",
        full: 8.0,
    },
];

/// Trains the reward model of all runs: a few steps of configs/bench/rm.toml. Returns the setting
/// that selects it.
pub(crate) fn reward_model(setup: &Setup) -> Result<String> {
    let rows = setup.rows().join("rm-1.json");
    let sets = vec![
        format!("data.path={}", rows.display()),
        "train.max_steps=4".into(),
        "reward.normalisation_samples=8".into(),
        "reward.normalisation_max_new_tokens=32".into(),
    ];
    let made = StageRun {
        binary: "reward-model",
        config: "rm",
        sets,
        cache: None,
    };
    let made = made.run(setup)?;
    let dir = setup.runs().join("reward");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::rename(made, &dir)?;
    Ok(format!("model.reward={}", dir.display()))
}

/// The number of processes that `measure` runs.
pub(crate) fn processes(rounds: usize) -> usize {
    CONTENDERS.len() * rounds
}

/// Runs all contenders, interleaved; calls `done` after each.
pub(crate) fn measure(setup: &Setup, rounds: usize, done: &mut dyn FnMut(&str)) -> Result<Report> {
    let reward = reward_model(setup)?;
    let mut timings: Vec<Vec<Timing>> = vec![Vec::new(); CONTENDERS.len()];
    for round in 1..=rounds {
        for (contender, timings) in CONTENDERS.iter().zip(&mut timings) {
            let rows = if contender.fresh { "fresh" } else { "rl" };
            let rows = setup.rows().join(format!("{rows}-{round}.json"));
            let mut sets = vec![
                reward.clone(),
                format!("data.path={}", rows.display()),
                format!("train.steps={}", setup.steps + 1),
                format!("rollout.prompts={BATCH}"),
            ];
            sets.extend(contender.sets.iter().map(|set| set.to_string()));
            let run = StageRun {
                binary: "esrl-rlhf",
                config: contender.config,
                sets,
                cache: None,
            };
            timings.push(run.time(setup).with_context(|| contender.name)?);
            done(contender.name);
        }
    }
    Ok(Report(timings.iter().map(|t| Figures::of(t)).collect()))
}

/// Figures of each contender.
pub(crate) struct Report(Vec<Figures>);

impl Report {
    fn of(&self, name: &str) -> &Figures {
        let at = CONTENDERS.iter().position(|known| known.name == name);
        &self.0[at.expect("a pair is of contenders")]
    }

    /// A Markdown table.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "\n| ESRL beside PPO, 8 prompts | side | seconds (least – most) | peak GB | responses drawn | trained on | ESRL's share of PPO's time (least – most round) | of its memory | by phase |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for pair in &PAIRS {
            let (esrl, ppo) = (self.of(pair.esrl), self.of(pair.ppo));
            let [time, least, most] = esrl.time_over(ppo);
            let [memory, ..] = esrl.memory_over(ppo);
            let ratio = [
                format!("{time:.2} ({least:.2} – {most:.2})"),
                format!("{memory:.2}"),
            ];
            let sides = [("PPO", ppo, Default::default()), ("ESRL", esrl, ratio)];
            for (side, of, [time, memory]) in sides {
                let [drawn, learnt] = responses(of, pair.full);
                text += &format!(
                    "| {} | {side} | {:.2} ({:.2} – {:.2}) | {:.2} | {drawn:.1} | {learnt:.1} | {time} | {memory} | {} |\n",
                    pair.about,
                    of.secs,
                    of.least,
                    of.most,
                    of.peak_gb(),
                    report::phases(&of.phases),
                );
            }
        }
        text
    }

    /// The first pair, and the others under `settings`.
    pub fn json(&self) -> Value {
        let one = |pair: &Pair| {
            let (esrl, ppo) = (self.of(pair.esrl), self.of(pair.ppo));
            let ([time, least, most], [memory, low, high]) =
                (esrl.time_over(ppo), esrl.memory_over(ppo));
            let mut all = Map::new();
            all.insert("about".into(), json!(pair.about));
            all.insert("time".into(), json!(time));
            all.insert("time_range".into(), json!([least, most]));
            all.insert("memory".into(), json!(memory));
            all.insert("memory_range".into(), json!([low, high]));
            for (side, of) in [("esrl", esrl), ("ppo", ppo)] {
                of.write(side, &mut all);
                let [drawn, learnt] = responses(of, pair.full);
                all.insert(format!("{side}_drawn"), json!(drawn));
                all.insert(format!("{side}_learnt_from"), json!(learnt));
            }
            all
        };
        let mut all = one(&PAIRS[0]);
        let settings = PAIRS[1..].iter().map(|p| (p.name.into(), one(p).into()));
        all.insert("settings".into(), Value::Object(settings.collect()));
        Value::Object(all)
    }
}

/// Per step: responses drawn, including greedy estimates, and responses trained on. `full`: if the
/// run logs neither.
fn responses(of: &Figures, full: f64) -> [f64; 2] {
    let known = |name: &str| of.metrics.get(name).copied();
    let drawn = known("esrl/samples_drawn").unwrap_or(full);
    let greedy = known("esrl/greedy_drawn").unwrap_or(0.0);
    let dropped = known("esrl/samples_dropped").unwrap_or(0.0);
    [drawn + greedy, drawn - dropped]
}
