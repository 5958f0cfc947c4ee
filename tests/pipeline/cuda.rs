//! GPUs, their drivers and their memory, with injected answers: which device is chosen, and the one
//! line where a GPU cannot be used.

use super::same::assert_same;
use super::world::World;
use crate::common::tiny_config;
use ops::driver::{Gpu, Machine, Needs};
use planning::{Estimate, Workload, is_out_of_memory};
use policy::{DeviceChoice, cuda_unavailable_reason, first_usable_gpu};
use serde_json::json;

fn gpu(name: &str, capability: u32) -> Gpu {
    Gpu {
        name: name.into(),
        capability,
        total_bytes: 80_000_000_000,
    }
}

fn machine(gpus: Vec<Gpu>) -> Machine {
    Machine {
        needs: Needs {
            cuda: 13_000,
            capability: 80,
        },
        driver: Some(13_010),
        refusal: None,
        gpus,
        missing: Vec::new(),
    }
}

#[test]
fn the_needs_of_kernels_are_read_from_their_ptx() {
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
fn the_reason_why_a_gpu_cannot_be_used_is_one_line() {
    let says = |machine: &Machine, number, parts: &[&str]| {
        let line = cuda_unavailable_reason(Some(machine), number).unwrap();
        assert!(!line.contains('\n'), "{line}");
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    };
    let (old, new) = (gpu("Tesla T4", 75), gpu("NVIDIA H200", 90));
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
    says(&none, 1, &["no NVIDIA driver is installed", "CUDA 13.0"]);
    let before = broken(&|m| m.driver = Some(12_040));
    let parts = ["driver runs CUDA 12.4", "needs 13.0", "CUDA_HOME"];
    says(&before, 1, &parts);
    let refused = broken(&|m| m.refusal = Some("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH".into()));
    let parts = ["does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"];
    says(&refused, 1, &parts);
    let empty = broken(&|m| m.gpus.clear());
    says(&empty, 0, &["finds no GPU", "CUDA_VISIBLE_DEVICES"]);
    let parts = ["no GPU 2", "there are 2: 0 (Tesla T4), 1 (NVIDIA H200)"];
    says(&good, 2, &parts);
    let one = broken(&|m| m.gpus.truncate(1));
    says(&one, 7, &["no GPU 7", "there is one: 0 (Tesla T4)"]);
    let parts = [
        "GPU 0, Tesla T4, has compute capability 7.5",
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
    assert_eq!(first_usable_gpu(Some(&good)), Some(1));
    assert_eq!(
        first_usable_gpu(Some(&machine(vec![new.clone(), new]))),
        Some(0)
    );
    assert_eq!(first_usable_gpu(Some(&none)), None);
    assert_eq!(first_usable_gpu(Some(&machine(vec![old]))), None);
    assert_eq!(first_usable_gpu(None), None);
    // the test binary is built without CUDA
    assert_eq!(DeviceChoice::parse("auto").unwrap(), DeviceChoice::Cpu);
    let third = DeviceChoice::parse("cuda:3").unwrap();
    assert_eq!(third, DeviceChoice::Cuda(3));
    assert!(policy::device("auto").unwrap().is_cpu());
}

fn work(device: DeviceChoice, memory_gb: Option<f64>) -> Workload {
    let shape = tiny_config(json!({ "num_hidden_layers": 6 }));
    Workload {
        device,
        memory_gb,
        ..super::memory::work(&shape, 100_000)
    }
}

#[test]
fn a_gpu_gives_no_more_than_it_has_free() {
    let (gpu, cpu) = (DeviceChoice::Cuda(0), DeviceChoice::Cpu);
    let budget = |memory_gb, device, free: f64| {
        let plan = work(device, memory_gb).plan_within(Some(free));
        plan.map(|plan| plan.budget.unwrap())
    };
    let all = Estimate::of(&work(gpu, None), 0).total();
    assert_eq!(budget(None, gpu, all).unwrap(), all);
    assert_eq!(budget(Some(1e3), gpu, all).unwrap(), all);
    assert_eq!(budget(Some(900.0), gpu, 1e12).unwrap(), 900e9);
    // the free memory of a CPU is no hard limit
    assert_eq!(budget(Some(900.0), cpu, all).unwrap(), 900e9);
    let error = budget(Some(24.0), gpu, 0.5e9);
    let line = run::one_line(&error.unwrap_err());
    assert!(line.contains("and 0.5 GB are free"), "{line}");
}

#[test]
fn a_full_gpu_gets_the_cheapest_change_as_advice() {
    let advice = |memory_gb, checkpoint_layers, usable| {
        let gpu = Workload {
            checkpoint_layers,
            ..work(DeviceChoice::Cuda(0), memory_gb)
        };
        gpu.plan_within(None).unwrap().oom_advice(usable)
    };
    let total = |layers| Estimate::of(&work(DeviceChoice::Cuda(0), None), layers).total();
    let (all, four) = (total(0) / 1e9, total(4) / 1e9);

    let text = advice(None, None, Some(total(4)));
    let says = format!(
        "the GPU is out of memory: {all:.1} GB were planned and {four:.1} GB are available; set train.checkpoint_blocks = 4, then resume with --resume"
    );
    assert_eq!(text, says);
    // the memory is free again: the plan was too low, so the advice stays a twentieth below it
    let layers = (1..=6).find(|n| total(*n) <= 0.95 * total(0)).unwrap();
    let text = advice(None, None, Some(80e9));
    let says = format!("GB were planned; set train.checkpoint_blocks = {layers},");
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
    assert!(
        text.contains("; free GPU memory, or use a larger GPU"),
        "{text}"
    );
}

#[test]
fn out_of_memory_is_recognised_by_the_codes_of_the_libraries() {
    let is = |text: &str| is_out_of_memory(&anyhow::anyhow!("{text}").context("forward"));
    assert!(is(
        "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"
    ));
    assert!(is("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"));
    assert!(!is(
        "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")"
    ));
}

/// An error injected into step 3, after a checkpoint of step 2.
#[test]
fn a_run_that_fills_the_gpu_can_be_resumed_from_its_last_checkpoint() {
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
            "the GPU is out of memory: ",
            "the last good checkpoint is ",
            "checkpoints/step-000002",
            "resume with --resume",
        ] {
            assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
        }
        // checkpointing changes no result
        let resumed = format!("resume {sets} train.checkpoint_blocks=2");
        stage(&world, &full, &resumed).unwrap();
        assert_same(&world, &whole, &full);
    }
}
