//! Why a GPU cannot be used, in one line. Decides from the driver's answers; asks nothing itself.

use ops::driver::{Gpu, Machine};

/// Why the GPU `number` cannot be used, and what to do about it. None: it can be. `machine` is None
/// in a binary without CUDA.
pub fn cuda_unavailable_reason(machine: Option<&Machine>, number: usize) -> Option<String> {
    let Some(machine) = machine else {
        return Some(
            "this binary was built without CUDA; build with --features cuda (make cuda)".into(),
        );
    };
    let needs = cuda(machine.needs.cuda);
    let Some(driver) = machine.driver else {
        return Some(format!(
            "no NVIDIA driver is installed (libcuda.so.1 is not found); install one that runs CUDA \
             {needs}"
        ));
    };
    if driver < machine.needs.cuda {
        return Some(format!(
            "the NVIDIA driver runs CUDA {} and this binary needs {needs}; update the driver, or \
             build with an older toolkit (CUDA_HOME)",
            cuda(driver)
        ));
    }
    if let Some(refusal) = &machine.refusal {
        return Some(format!("the NVIDIA driver does not start: {refusal}"));
    }
    if machine.gpus.is_empty() {
        return Some(
            "the NVIDIA driver finds no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES".into(),
        );
    }
    let Some(gpu) = machine.gpus.get(number) else {
        return Some(format!(
            "there is no GPU {number}; there {}",
            listed(&machine.gpus)
        ));
    };
    if gpu.capability < machine.needs.capability {
        return Some(format!(
            "GPU {number}, {}, has compute capability {}, and this binary is for {} and newer",
            gpu.name,
            capability(gpu.capability),
            capability(machine.needs.capability),
        ));
    }
    let missing = match machine.missing.as_slice() {
        [] => return None,
        [one] => format!("{one} is not found"),
        several => format!("{} are not found", several.join(", ")),
    };
    Some(format!(
        "{missing}; install CUDA's libraries, or name their folder in WICK_CUDA_LIBS"
    ))
}

/// The number of the first GPU that can be used.
pub fn first_usable_gpu(machine: Option<&Machine>) -> Option<usize> {
    let n_gpus = machine.map_or(0, |machine| machine.gpus.len());
    (0..n_gpus).find(|number| cuda_unavailable_reason(machine, *number).is_none())
}

fn cuda(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn capability(number: u32) -> String {
    format!("{}.{}", number / 10, number % 10)
}

fn listed(gpus: &[Gpu]) -> String {
    let names: Vec<String> = gpus
        .iter()
        .enumerate()
        .map(|(number, gpu)| format!("{number} ({})", gpu.name))
        .collect();
    match gpus.len() {
        1 => format!("is one: {}", names[0]),
        n => format!("are {n}: {}", names.join(", ")),
    }
}
