//! The shipped tokenizer and base model.

use super::{text, tiny};
use tiny_world::{datasets, tokenizer};

#[test]
fn the_shipped_tokenizer_is_lossless_and_reproducible() {
    let made = tokenizer::train(1).unwrap();
    let shipped: tokenizers::Tokenizer = text("base/tokenizer.json").parse().unwrap();
    assert_eq!(
        made.to_string(false).unwrap(),
        shipped.to_string(false).unwrap()
    );
    let ids = |text: &str| shipped.encode(text, false).unwrap().get_ids().to_vec();
    let ends =
        [tokenizer::PAD, tokenizer::BOS, tokenizer::EOS].map(|t| shipped.token_to_id(t).unwrap());
    assert_eq!(ends, [0, 1, 2]);
    let head = datasets::PLAIN_HEAD;
    for text in [
        "",
        " ",
        "The sum is 11.",
        "  two  spaces\n\nand lines\t",
        "Grüße, 世界! 😀",
        " leading",
        "<b>&amp;</b>",
        head,
    ] {
        assert_eq!(shipped.decode(&ids(text), false).unwrap(), text);
    }
    assert_eq!(ids("12345").len(), 5);
    for (i, noun) in tiny_world::language::nouns().enumerate() {
        assert_eq!(ids(&format!(" {noun}")).len(), 1, "{i} {noun}");
    }
    let prompt = format!(
        "{head}Sort these words by letter: pear cow hat.{}",
        datasets::RESPONSE
    );
    let answer = "The sorted words are cow hat pear.";
    assert_eq!(
        [ids(&prompt), ids(answer)].concat(),
        ids(&format!("{prompt}{answer}"))
    );
    assert!(ids(&prompt).len() <= 15, "{}", ids(&prompt).len());
}

#[test]
fn the_shipped_base_loads() {
    let source = models::ModelSource::Dir(tiny().join("base"));
    let loaded = models::load(&source, &candle_core::Device::Cpu).unwrap();
    assert_eq!(loaded.model.n_params(), 2_324_224);
    assert_eq!(
        loaded.model.config.vocab_size,
        loaded.tokenizer.get_vocab_size(true)
    );
    assert_eq!(loaded.special.bos, Some((1, "<s>".into())));
    assert_eq!(loaded.special.eos, [(2, "</s>".into())]);
    assert!(loaded.special.add_bos);
}
