//! Why a card cannot be used, in one line. Decides on what the driver said; asks nothing itself.

use ops::driver::{Gpu, Machine};

/// What is in the way of using card `number`, and what to do; None: nothing. `machine` is None for a binary without CUDA.
pub fn cuda_unavailable_reason(machine: Option<&Machine>, number: usize) -> Option<String> {
    let Some(machine) = machine else {
        return Some(
            "this binary was built without CUDA; build with --features cuda (make cuda)".into(),
        );
    };
    let needs = cuda(machine.needs.cuda);
    let Some(driver) = machine.driver else {
        return Some(format!(
            "no NVIDIA driver is here (libcuda.so.1 is not found); install one that runs CUDA {needs}"
        ));
    };
    if driver < machine.needs.cuda {
        return Some(format!(
            "the NVIDIA driver runs CUDA {} and this binary needs {needs}; update the driver, or build with an older toolkit (CUDA_HOME)",
            cuda(driver)
        ));
    }
    if let Some(refusal) = &machine.refusal {
        return Some(format!("the NVIDIA driver does not start: {refusal}"));
    }
    if machine.gpus.is_empty() {
        return Some(
            "the NVIDIA driver finds no card; look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
                .into(),
        );
    }
    let Some(card) = machine.gpus.get(number) else {
        return Some(format!(
            "there is no card {number}; there {}",
            listed(&machine.gpus)
        ));
    };
    if card.capability < machine.needs.capability {
        return Some(format!(
            "card {number}, {}, has compute capability {}, and this binary is for {} and newer",
            card.name,
            capability(card.capability),
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

/// The first card with nothing in its way.
pub fn usable_card(machine: Option<&Machine>) -> Option<usize> {
    let cards = machine.map_or(0, |machine| machine.gpus.len());
    (0..cards).find(|number| cuda_unavailable_reason(machine, *number).is_none())
}

fn cuda(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn capability(number: u32) -> String {
    format!("{}.{}", number / 10, number % 10)
}

fn listed(cards: &[Gpu]) -> String {
    let names: Vec<String> = cards
        .iter()
        .enumerate()
        .map(|(number, card)| format!("{number} ({})", card.name))
        .collect();
    match cards.len() {
        1 => format!("is one: {}", names[0]),
        n => format!("are {n}: {}", names.join(", ")),
    }
}
