//! Cards, their drivers and their memory, as planted answers: what is chosen, and the one line where something is in the way.

use super::same::assert_same;
use super::world::World;
use crate::common::tiny_config;
use models::LoraConfig;
use ops::driver::{Gpu, Machine, Needs};
use planning::memory::{
    Drawing, Estimate, Forward, Graph, MemoryConfig, Planned, Reading, Workload, is_shortage,
};
use policy::{DeviceChoice, cuda_unavailable_reason, usable_card};
use serde_json::json;

fn card(name: &str, capability: u32) -> Gpu {
    Gpu {
        name: name.into(),
        capability,
        total_bytes: 80_000_000_000,
    }
}

fn machine(cards: Vec<Gpu>) -> Machine {
    Machine {
        needs: Needs {
            cuda: 13_000,
            capability: 80,
        },
        driver: Some(13_010),
        refusal: None,
        gpus: cards,
        missing: Vec::new(),
    }
}

#[test]
fn what_kernels_need_is_read_off_them() {
    let ptx = |version: &str, target: &str| {
        let text =
            format!("//\n// Generated\n\n.version {version}\n.target {target}\n.address_size 64\n");
        Needs::of_ptx(&text).map(|n| (n.cuda, n.capability))
    };
    assert_eq!(ptx("9.0", "sm_80"), Some((13_000, 80)));
    assert_eq!(ptx("9.2", "sm_90a"), Some((13_020, 90)));
    // CUDA 12.4, 12.5 (12.6 brought no new one) and 12.8
    assert_eq!(ptx("8.4", "sm_75"), Some((12_040, 75)));
    assert_eq!(ptx("8.5", "sm_80"), Some((12_050, 80)));
    assert_eq!(ptx("8.7", "sm_120a, debug"), Some((12_080, 120)));
    assert_eq!(ptx("8", "sm_80"), None);
    assert_eq!(Needs::of_ptx(""), None);
}

#[test]
fn what_is_in_the_way_is_one_line() {
    let says = |machine: &Machine, number, parts: &[&str]| {
        let line = cuda_unavailable_reason(Some(machine), number).unwrap();
        assert!(!line.contains('\n'), "{line}");
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    };
    let (old, new) = (card("Tesla T4", 75), card("NVIDIA H200", 90));
    let good = machine(vec![old.clone(), new.clone()]);
    assert_eq!(cuda_unavailable_reason(Some(&good), 1), None);
    assert!(
        cuda_unavailable_reason(None, 0)
            .unwrap()
            .contains("built without CUDA")
    );

    let broken = |break_it: &dyn Fn(&mut Machine)| {
        let mut machine = good.clone();
        break_it(&mut machine);
        machine
    };
    let none = broken(&|m| m.driver = None);
    says(&none, 1, &["no NVIDIA driver is here", "CUDA 13.0"]);
    let before = broken(&|m| m.driver = Some(12_040));
    let parts = ["driver runs CUDA 12.4", "needs 13.0", "CUDA_HOME"];
    says(&before, 1, &parts);
    let refused = broken(&|m| m.refusal = Some("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH".into()));
    let parts = ["does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"];
    says(&refused, 1, &parts);
    let empty = broken(&|m| m.gpus.clear());
    says(&empty, 0, &["finds no card", "CUDA_VISIBLE_DEVICES"]);
    let parts = ["no card 2", "there are 2: 0 (Tesla T4), 1 (NVIDIA H200)"];
    says(&good, 2, &parts);
    let one = broken(&|m| m.gpus.truncate(1));
    says(&one, 7, &["no card 7", "there is one: 0 (Tesla T4)"]);
    let parts = [
        "card 0, Tesla T4, has compute capability 7.5",
        "8.0 and newer",
    ];
    says(&good, 0, &parts);
    let files = ["libcublas.so.13", "libcublasLt.so.13"].map(String::from);
    let bare = broken(&|m| m.missing = files.to_vec());
    let parts = [
        "libcublas.so.13, libcublasLt.so.13 are not found",
        "WICK_CUDA_LIBS",
    ];
    says(&bare, 1, &parts);

    // auto takes the first that can be used
    assert_eq!(usable_card(Some(&good)), Some(1));
    assert_eq!(usable_card(Some(&machine(vec![new.clone(), new]))), Some(0));
    assert_eq!(usable_card(Some(&none)), None);
    assert_eq!(usable_card(Some(&machine(vec![old]))), None);
    assert_eq!(usable_card(None), None);
    // this test's binary has no kernels for cards
    assert_eq!(DeviceChoice::parse("auto").unwrap(), DeviceChoice::Cpu);
    let third = DeviceChoice::parse("cuda:3").unwrap();
    assert_eq!(third, DeviceChoice::Cuda(3));
    assert!(policy::device("auto").unwrap().is_cpu());
}

fn work(device: DeviceChoice) -> Workload {
    Workload {
        device,
        weight_bytes: 4_000_000,
        parameters: 1000,
        adapter_numbers: 1500,
        graphs: vec![Graph {
            name: "policy",
            lora: Some(LoraConfig::default()),
        }],
        largest: Forward {
            tokens: 100_000,
            pairs: 0,
        },
        longest: 100,
        reading: Reading::default(),
        drawing: Drawing::default(),
    }
}

#[test]
fn a_card_gives_no_more_than_it_has_free() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let limit = |memory_gb| MemoryConfig {
        memory_gb,
        checkpoint_blocks: None,
    };
    let (card, cpu) = (work(DeviceChoice::Cuda(0)), work(DeviceChoice::Cpu));
    let chosen = |memory_gb, work, free: f64| {
        let choice = limit(memory_gb).choose_within(&config, work, Some(free));
        choice.unwrap().budget.unwrap()
    };
    let all = Estimate::of(&config, &card, 0).total();
    assert_eq!(chosen(None, &card, all), all);
    assert_eq!(chosen(Some(1e3), &card, all), all);
    assert_eq!(chosen(Some(900.0), &card, 1e12), 900e9);
    // the CPU's memory is shared with what can be put off
    assert_eq!(chosen(Some(900.0), &cpu, all), 900e9);
    let error = limit(Some(24.0)).choose_within(&config, &card, Some(0.5e9));
    let line = run::one_line(&error.unwrap_err());
    assert!(line.contains("and 0.5 GB are free"), "{line}");
}

#[test]
fn the_cheapest_change_is_told_to_a_full_card() {
    let config = tiny_config(json!({ "num_hidden_layers": 6 }));
    let advice = |memory_gb, checkpoint_blocks, usable| {
        let work = work(DeviceChoice::Cuda(0));
        let memory = MemoryConfig {
            memory_gb,
            checkpoint_blocks,
        };
        let choice = memory.choose_within(&config, &work, None).unwrap();
        let planned = Planned {
            config: config.clone(),
            work,
            choice,
        };
        planned.advice(usable)
    };
    let total = |blocks| Estimate::of(&config, &work(DeviceChoice::Cuda(0)), blocks).total();
    let (all, four) = (total(0) / 1e9, total(4) / 1e9);

    let text = advice(None, None, Some(total(4)));
    let says = format!(
        "the card is full: {all:.1} GB were planned, of which it could have {four:.1} now; set train.checkpoint_blocks = 4, then go on with --resume"
    );
    assert_eq!(text, says);
    // all of it is free again: the count was too low, so a twentieth less is asked for
    let blocks = (1..=6).find(|b| total(*b) <= 0.95 * total(0)).unwrap();
    let text = advice(None, None, Some(80e9));
    let says = format!("GB were planned; set train.checkpoint_blocks = {blocks},");
    assert!(text.contains(&says), "{text}");
    assert_eq!(text, advice(None, None, None));
    let text = advice(Some(24.0), None, Some(total(4)));
    assert!(text.contains("; lower train.memory_gb to "), "{text}");
    let text = advice(None, Some(6), None);
    let says = "; lower train.micro_batch_tokens to ";
    assert!(text.contains(says), "{text}");
    let text = advice(None, Some(2), Some(total(6) - 1.0));
    let says = "; set train.checkpoint_blocks = 6 and lower train.micro_batch_tokens to ";
    assert!(text.contains(says), "{text}");
    let text = advice(None, Some(6), Some(0.1e9));
    assert!(text.contains("; free the card, or take a larger"), "{text}");
}

#[test]
fn a_shortage_is_known_by_what_the_libraries_say() {
    let is = |text: &str| is_shortage(&anyhow::anyhow!("{text}").context("forward"));
    assert!(is(
        "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"
    ));
    assert!(is("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"));
    assert!(!is(
        "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")"
    ));
}

/// The error of an operation, planted in step 3, with a checkpoint of step 2.
#[test]
fn a_card_that_is_full_in_a_step_ends_the_run_with_a_checkpoint_to_go_on_from() {
    let world = World::with_reward();
    type Stage = fn(&World, &str, &str) -> anyhow::Result<()>;
    let stages: [(Stage, &str); 3] = [
        (World::sft, "sft"),
        (World::reward, "reward"),
        (World::rl, "rl"),
    ];
    for (stage, name) in stages {
        let sets = match name {
            "rl" => "algorithm.name=ppo train.steps=4 train.save_every=2 train.keep_checkpoints=9",
            _ => "train.save_every=2 train.keep_checkpoints=9",
        };
        let (whole, full) = (format!("{name}-whole"), format!("{name}-full"));
        stage(&world, &whole, sets).unwrap();
        train::inject_out_of_memory(Some(3));
        let error = stage(&world, &full, sets);
        train::inject_out_of_memory(None);
        let line = run::one_line(&error.unwrap_err());
        assert!(line.starts_with("step 3: "), "{line}");
        assert!(!line.contains('\n'), "{line}");
        for part in [
            "CUDA_ERROR_OUT_OF_MEMORY",
            "the card is full: ",
            "the last good checkpoint is ",
            "checkpoints/step-000002",
            "go on with --resume",
        ] {
            assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
        }
        // less memory is no other run
        let resumed = format!("resume {sets} train.checkpoint_blocks=2");
        stage(&world, &full, &resumed).unwrap();
        assert_same(&world, &whole, &full);
    }
}
