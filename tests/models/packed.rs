//! Sequences that share a prompt in one forward.

use super::{CPU, adapter, ids, tiny};
use candle_core::{DType, Tensor};
use ops::Ragged;
use testkit::{assert_close, varied};

#[test]
fn sequences_with_a_shared_prompt_equal_separate_ones() {
    let model = tiny("tied").model;
    let lora = adapter("adapter", &model).trainable().unwrap();
    let prompts = [ids(5, 3), ids(7, 11)];
    let answers = [ids(3, 20), ids(1, 31), ids(0, 0), ids(4, 40), ids(2, 50)];
    let of_prompt = [0, 0, 0, 1, 1];
    let rows: Vec<Vec<u32>> = answers
        .iter()
        .zip(of_prompt)
        .map(|(answer, p)| [prompts[p].as_slice(), answer].concat())
        .collect();
    let sequences: Vec<models::Sequence> = rows
        .iter()
        .zip(of_prompt)
        .map(|(row, p)| (row.as_slice(), prompts[p].len()))
        .collect();
    // the sum over every row of each answer's states, weighed so that no two count alike
    let loss = |hidden: &Tensor, rows: &[u32]| {
        let rows = hidden
            .index_select(&Tensor::new(rows, CPU).unwrap(), 0)
            .unwrap();
        let weights = varied(&[rows.dim(0).unwrap(), rows.dim(1).unwrap()], 5, 1.0);
        (rows * weights.to_dtype(DType::F32).unwrap())
            .unwrap()
            .sum_all()
            .unwrap()
    };

    let packed = models::Packed::new(&sequences);
    assert_eq!(packed.ids.len(), 5 + 3 + 1 + 7 + 4 + 2, "each prompt once");
    let shared = model
        .hidden(&packed.ids, &packed.layout(), Some(&lora), None)
        .unwrap();
    let places: Vec<u32> = (0..rows.len())
        .flat_map(|seq| (0..rows[seq].len()).map(move |at| (seq, at)))
        .map(|(seq, at)| packed.row(seq, at) as u32)
        .collect();
    let alone = Ragged::from_lens(&rows.iter().map(Vec::len).collect::<Vec<_>>());
    let alone = model
        .hidden(&rows.concat(), &alone, Some(&lora), None)
        .unwrap();
    let all: Vec<u32> = (0..places.len() as u32).collect();
    let at_places = shared
        .index_select(&Tensor::new(places.as_slice(), CPU).unwrap(), 0)
        .unwrap();
    assert_close("states", &at_places, &alone, 1e-5);

    let [shared, alone] =
        [loss(&shared, &places), loss(&alone, &all)].map(|l| l.backward().unwrap());
    for (name, var) in lora.vars() {
        assert_close(
            &name,
            shared.get(&var).unwrap(),
            alone.get(&var).unwrap(),
            1e-4,
        );
    }
}

#[test]
fn micro_batches_count_a_shared_prompt_once() {
    let row = ids(10, 0); // 6 of prompt, 4 of answer: 10 alone, 4 more for each that shares
    let other = ids(10, 50);
    let units = |rows: &[&Vec<u32>]| -> Vec<Vec<(Vec<u32>, usize)>> {
        rows.iter().map(|row| vec![((*row).clone(), 6)]).collect()
    };
    let cut = |units: &[Vec<(Vec<u32>, usize)>], max| {
        let units: Vec<Vec<models::Sequence>> = units
            .iter()
            .map(|unit| unit.iter().map(|(ids, n)| (ids.as_slice(), *n)).collect())
            .collect();
        models::micro_batches(&units, max)
    };
    let same = units(&[&row, &row, &row, &other]);
    assert_eq!(cut(&same, 18), [0..3, 3..4]);
    assert_eq!(cut(&same, 17), [0..2, 2..3, 3..4]);
    assert_eq!(cut(&same, 28), std::slice::from_ref(&(0..4)));
    assert_eq!(cut(&same, 1), [0..1, 1..2, 2..3, 3..4]);
    assert!(cut(&[], 5).is_empty());
}
