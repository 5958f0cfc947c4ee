//! Questions about numbers: sort, add, the next, the larger.

use crate::family::{Family, Sort, items};
use rand::Rng as _;
use rand::seq::index::sample;

/// Sort numbers.
pub static SORT_NUMBERS: Family = Family {
    name: "sort-numbers",
    topic: "math",
    forms: &[
        ("Sort these numbers: ", "."),
        ("Put these numbers in order: ", "."),
    ],
    draw: |rng| {
        let n = rng.random_range(3..=4);
        sample(rng, 9, n)
            .iter()
            .map(|i| (i + 1).to_string())
            .collect::<Vec<_>>()
            .join(" ")
    },
    solve: |body| {
        let mut numbers = numbers(body, ' ')?;
        numbers.sort();
        (numbers.len() >= 2).then(|| items(Sort::Number, "the sorted numbers are", texts(&numbers)))
    },
};

/// Add two numbers.
pub static SUM: Family = Family {
    name: "sum",
    topic: "math",
    forms: &[
        ("What is ", "?"),
        ("Work out ", "."),
        ("Tell me the sum: ", "."),
    ],
    draw: |rng| {
        format!(
            "{} plus {}",
            rng.random_range(1..=9),
            rng.random_range(1..=9)
        )
    },
    solve: |body| {
        let (a, b) = body.split_once(" plus ")?;
        let sum = number(a)? + number(b)?;
        Some(items(Sort::Number, "the sum is", vec![sum.to_string()]))
    },
};

/// The next number.
pub static NEXT: Family = Family {
    name: "next",
    topic: "math",
    forms: &[
        ("What number comes after ", "?"),
        ("Say the number that follows ", "."),
    ],
    draw: |rng| rng.random_range(1..=98).to_string(),
    solve: |body| {
        Some(items(
            Sort::Number,
            "the next number is",
            vec![(number(body)? + 1).to_string()],
        ))
    },
};

/// The larger of two numbers.
pub static LARGER: Family = Family {
    name: "larger",
    topic: "math",
    forms: &[
        ("Which number is larger: ", "?"),
        ("Pick the larger number: ", "."),
    ],
    draw: |rng| {
        let pair = sample(rng, 90, 2);
        format!("{} or {}", pair.index(0) + 10, pair.index(1) + 10)
    },
    solve: |body| {
        let (a, b) = body.split_once(" or ")?;
        let larger = number(a)?.max(number(b)?);
        Some(items(
            Sort::Number,
            "the larger number is",
            vec![larger.to_string()],
        ))
    },
};

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn numbers(body: &str, separator: char) -> Option<Vec<u32>> {
    body.split(separator).map(number).collect()
}

fn texts(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(u32::to_string).collect()
}
