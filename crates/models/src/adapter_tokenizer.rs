//! Tokenizer and chat template that trainers save beside an adapter. The base's tokenizer is used,
//! so one that makes other ids is refused; a chat template takes the place of the base's.

use crate::hf_files::is_there;
use crate::hf_template::chat_template;
use crate::hf_tokenizer::read_tokenizer;
use crate::peft_config::merge_it;
use crate::{Config, Error, Result, SpecialTokens, hf_special};
use std::path::Path;
use tokenizers::Tokenizer;

/// The chat template beside the adapter in `dir`, if there is one.
///
/// # Errors
/// If the tokenizer there has other tokens, another BOS or another EOS than the base's, which are
/// given.
pub fn adapter_chat_template(
    dir: &Path,
    config: &Config,
    tokenizer: &Tokenizer,
    special: &SpecialTokens,
) -> Result<Option<String>> {
    let mut notes = Vec::new();
    let settings = hf_special::settings(dir, &mut notes)?;
    let file = dir.join("tokenizer.json");
    if is_there(&file)? {
        let own = read_tokenizer(dir, &settings, config)?;
        let of_own = hf_special::special(dir, config, &own, &settings, &mut notes)?;
        let named = |key: &str| settings.get(key).and_then(hf_special::token_text);
        let named = (named("pad_token"), named("eos_token"));
        if let Some(what) = difference((&own, &of_own), (tokenizer, special), named) {
            let what = format!(
                "{what}, and an adapter is used with its base's tokenizer; {}, with this tokenizer \
                 beside it",
                merge_it(dir)
            );
            return Err(Error::at(&file, what));
        }
    }
    chat_template(dir, &settings, &mut notes)
}

/// What of the adapter's tokenizer is not as in the base's. `pad` and `eos`: the tokens that its
/// settings name; no text has the first.
fn difference(
    (own, of_own): (&Tokenizer, &SpecialTokens),
    (base, of_base): (&Tokenizer, &SpecialTokens),
    (pad, eos): (Option<&str>, Option<&str>),
) -> Option<String> {
    let tokens = own.get_vocab(true).into_iter();
    let tokens = tokens.filter(|(text, id)| base.token_to_id(text) != Some(*id));
    let other = tokens.filter(|(text, _)| Some(text.as_str()) != pad);
    if let Some((text, id)) = other.min_by_key(|(_, id)| *id) {
        return Some(match base.token_to_id(&text) {
            Some(other) => format!("gives {text:?} the id {id}, which is {other} in its base"),
            None => format!("has the token {text:?}, which its base lacks"),
        });
    }
    let of_its_base = of_base.eos.first().map(|(_, text)| text.as_str());
    if let Some(eos) = eos.filter(|eos| Some(*eos) != of_its_base) {
        let other = of_its_base.unwrap_or("none");
        return Some(format!("ends an answer with {eos}, its base with {other}"));
    }
    let begins = |special: &SpecialTokens| special.add_bos.then(|| special.bos.clone());
    let how = |special: &SpecialTokens| match begins(special) {
        Some(Some((_, bos))) => format!("begins a text with {bos}"),
        _ => "begins a text without BOS".into(),
    };
    (begins(of_own) != begins(of_base))
        .then(|| format!("{}, its base {}", how(of_own), how(of_base)))
}
