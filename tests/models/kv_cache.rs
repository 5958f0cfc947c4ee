//! Cached decoding against the full forward.

use super::{CPU, ids, tiny};
use candle_core::{DType, Tensor};
use models::{CausalLm, Config, KvCache, Lora, LoraConfig, SeqId};
use ops::Ragged;
use testkit::{assert_close, varied};

fn small() -> Config {
    Config {
        max_position_embeddings: 48,
        ..tiny("tied").model.config
    }
}

fn extend(
    model: &CausalLm,
    parts: &[(&SeqId, &[u32])],
    cache: &mut KvCache,
    lora: Option<&Lora>,
) -> Tensor {
    let lens: Vec<usize> = parts.iter().map(|(_, ids)| ids.len()).collect();
    let seqs: Vec<SeqId> = parts.iter().map(|(seq, _)| **seq).collect();
    let ids: Vec<u32> = parts
        .iter()
        .flat_map(|(_, ids)| ids.iter().copied())
        .collect();
    model
        .forward_cached(&ids, &Ragged::from_lens(&lens), &seqs, cache, lora)
        .unwrap()
}

#[test]
fn cached_decoding_equals_the_full_forward() {
    let model = tiny("untied").model;
    let lora = Lora::init(&LoraConfig::default(), &model, 1).unwrap();
    let lora = lora.trainable().unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let noise = varied(var.dims(), i as u64, 0.1)
            .to_dtype(DType::F32)
            .unwrap();
        var.set(&noise).unwrap();
    }
    let (a, b) = (ids(17, 0), ids(9, 40));
    let full = |x: &[u32]| {
        let layout = Ragged::from_lens(&[x.len()]);
        let hidden = model.hidden(x, &layout, Some(&lora), None);
        hidden.unwrap().detach()
    };
    let mut cache = KvCache::new(&model).unwrap();
    let (sa, sb) = (cache.open(None).unwrap(), cache.open(None).unwrap());
    // prefill both, then b alone by one, then both by chunks, then a alone
    let steps: [(usize, usize); 5] = [(5, 3), (0, 1), (4, 1), (1, 1), (7, 3)];
    let (mut na, mut nb) = (0, 0);
    let (mut got_a, mut got_b) = (Vec::new(), Vec::new());
    for (da, db) in steps {
        let out = extend(
            &model,
            &[(&sa, &a[na..na + da]), (&sb, &b[nb..nb + db])],
            &mut cache,
            Some(&lora),
        );
        assert!(!out.track_op(), "extend records a graph");
        got_a.push(out.narrow(0, 0, da).unwrap());
        got_b.push(out.narrow(0, da, db).unwrap());
        (na, nb) = (na + da, nb + db);
        assert_eq!((cache.len(sa), cache.len(sb)), (na, nb));
    }
    let cat = |parts: Vec<Tensor>| {
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|p| p.dim(0).unwrap() > 0)
            .collect();
        Tensor::cat(&parts, 0).unwrap()
    };
    assert_close("a", &cat(got_a), &full(&a), 1e-5);
    assert_close("b", &cat(got_b), &full(&b), 1e-5);
}

#[test]
fn a_shared_prefix_equals_separate_sequences() {
    let model = tiny("tied").model;
    let prompt = ids(11, 7);
    let tails = [ids(6, 1), ids(6, 50), ids(6, 80)];
    let mut cache = KvCache::new(&model).unwrap();
    let parent = cache.open(None).unwrap();
    extend(&model, &[(&parent, &prompt)], &mut cache, None);
    let children: Vec<SeqId> = tails
        .iter()
        .map(|_| cache.open(Some(parent)).unwrap())
        .collect();
    // a grandchild, opened in the middle of the first child
    let mut grandchild = None;
    cache.close(parent);
    let mut found = vec![Vec::new(); 3];
    for step in 0..6 {
        let parts: Vec<(&SeqId, &[u32])> = children
            .iter()
            .zip(&tails)
            .map(|(seq, tail)| (seq, &tail[step..step + 1]))
            .collect();
        let out = extend(&model, &parts, &mut cache, None);
        for (i, rows) in found.iter_mut().enumerate() {
            rows.push(out.narrow(0, i, 1).unwrap());
        }
        if step == 2 {
            grandchild = Some(cache.open(Some(children[0])).unwrap());
        }
    }
    let full = |parts: &[&[u32]]| {
        let ids = parts.concat();
        let layout = Ragged::from_lens(&[ids.len()]);
        model.hidden(&ids, &layout, None, None).unwrap()
    };
    for (i, rows) in found.iter().enumerate() {
        let wanted = full(&[&prompt, &tails[i]]).narrow(0, 11, 6).unwrap();
        let found = Tensor::cat(rows, 0).unwrap();
        assert_close(&format!("child {i}"), &found, &wanted, 1e-5);
    }
    let grandchild = grandchild.unwrap();
    assert_eq!(cache.len(grandchild), 14);
    let tail = ids(4, 33);
    let found = extend(&model, &[(&grandchild, &tail)], &mut cache, None);
    let wanted = full(&[&prompt, &tails[0][..3], &tail]);
    let wanted = wanted.narrow(0, 14, 4).unwrap();
    assert_close("grandchild", &found, &wanted, 1e-5);

    for child in children {
        cache.close(child);
    }
    assert_eq!(
        cache.used_rows(),
        16 + 16 + 16,
        "the grandchild's line is kept, a run of rows each"
    );
    cache.close(grandchild);
    assert_eq!(cache.used_rows(), 0);
    assert!(cache.is_empty());
}

#[test]
fn free_rows_are_reused_and_closed_sequences_are_refused() {
    let model = tiny("tied").model;
    let mut cache = KvCache::new(&model).unwrap();
    let prompt = ids(8, 3);
    let layout = Ragged::from_lens(&[8]);
    let wanted = model.hidden(&prompt, &layout, None, None).unwrap();
    for round in 0..20 {
        let noise = cache.open(None).unwrap();
        extend(&model, &[(&noise, &ids(4, round as u32))], &mut cache, None);
        let seq = cache.open(None).unwrap();
        let found = extend(&model, &[(&seq, &prompt)], &mut cache, None);
        assert_close(&format!("round {round}"), &found, &wanted, 1e-5);
        cache.close(noise);
        cache.close(seq);
        cache.close(seq); // closing twice changes nothing
        let error = cache.open(Some(seq)).unwrap_err().to_string();
        assert!(error.contains("is not open"), "{error}");
    }
    assert_eq!(cache.used_rows(), 0);
    assert!(cache.rows() <= 32, "the store stays as small as the work");
}

#[test]
fn context_overflow_and_foreign_ids_are_errors() {
    let model = CausalLm::init(&small(), 0, CPU).unwrap();
    let long = ids(49, 0);
    let error = model.hidden(&long, &Ragged::from_lens(&[49]), None, None);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("49 tokens") && error.contains("context of 48"),
        "{error}"
    );

    let mut cache = KvCache::new(&model).unwrap();
    let seq = cache.open(None).unwrap();
    extend(&model, &[(&seq, &long[..48])], &mut cache, None);
    let one = Ragged::from_lens(&[1]);
    let error = model.forward_cached(&[5], &one, &[seq], &mut cache, None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("context of 48"), "{error}");

    let error = model
        .hidden(&[96], &one, None, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("token id 96"), "{error}");
}
