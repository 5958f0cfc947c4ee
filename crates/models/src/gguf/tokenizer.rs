//! The tokenizer that a GGUF file describes, built like Hugging Face's fast tokenizer of the same
//! model. Two kinds: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"). An unknown
//! pre-tokenizer is refused: a nearly right one would silently change every prompt.

use super::metadata::Metadata;
use crate::families;
use crate::hf_template::for_tools;
use crate::shape::{PreTokenizer, Split};
use crate::{Error, Result, SpecialTokens};
use candle_core::quantized::gguf_file::Value;
use tokenizers::decoders::{
    DecoderWrapper, byte_fallback::ByteFallback, byte_level::ByteLevel as ByteLevelDecoder,
    fuse::Fuse, sequence::Sequence as Decoders, strip::Strip,
};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NFC, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::{
    PreTokenizerWrapper,
    byte_level::ByteLevel,
    digits::Digits,
    sequence::Sequence,
    split::{Split as SplitBy, SplitPattern},
};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

/// ggml's token types.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

pub(crate) fn tokenizer(meta: &Metadata) -> Result<Tokenizer> {
    let tokens = meta
        .texts("tokenizer.ggml.tokens")?
        .ok_or_else(|| meta.wrong("tokenizer.ggml.tokens", "missing"))?;
    let mut tokenizer = match meta.text("tokenizer.ggml.model") {
        Some("gpt2") => byte_level(meta, &tokens)?,
        Some("llama") => sentence_piece(meta, &tokens)?,
        other => {
            return Err(Error::at(
                meta.path,
                format!(
                    "tokenizer model \"{}\" is not supported; gpt2 and llama are",
                    other.unwrap_or("missing")
                ),
            ));
        }
    };
    let types = meta.list("tokenizer.ggml.token_type")?.unwrap_or(&[]);
    let added = types.iter().zip(&tokens).filter_map(|(kind, text)| {
        let special = match kind_of(kind) {
            CONTROL | UNKNOWN => true,
            USER_DEFINED => false,
            _ => return None,
        };
        Some(AddedToken::from(text.clone(), special).normalized(false))
    });
    let added: Vec<AddedToken> = added.collect();
    tokenizer
        .add_tokens(added)
        .map_err(|e| Error::at(meta.path, e))?;
    if let (true, Some((id, text))) = (adds_bos(meta), bos(meta, &tokenizer)?) {
        let single = format!("{text} $A");
        let processor = TemplateProcessing::builder()
            .try_single(single)
            .map_err(|e| Error::at(meta.path, e))?
            .special_tokens(vec![(text, id)])
            .build()
            .map_err(|e| Error::at(meta.path, e))?;
        tokenizer.with_post_processor(Some(processor));
    }
    Ok(tokenizer)
}

pub(crate) fn special(meta: &Metadata, tokenizer: &Tokenizer) -> Result<SpecialTokens> {
    let mut eos = Vec::new();
    for key in ["eos_token_id", "eot_token_id"] {
        let token = token(meta, tokenizer, key)?;
        eos.extend(token.filter(|t| !eos.contains(t)));
    }
    let bos = bos(meta, tokenizer)?;
    Ok(SpecialTokens {
        add_bos: adds_bos(meta) && bos.is_some(),
        bos,
        eos,
    })
}

/// Tokens that only a copy of the model needs, by their key in tokenizer_config.json. Says in
/// `notes` which of them the vocabulary lacks.
pub(crate) fn other_tokens(
    meta: &Metadata,
    tokenizer: &Tokenizer,
    notes: &mut Vec<String>,
) -> Vec<(&'static str, (u32, String))> {
    let keys = [
        ("pad_token", "padding_token_id"),
        ("unk_token", "unknown_token_id"),
    ];
    let mut found = Vec::new();
    for (name, key) in keys {
        match token(meta, tokenizer, key) {
            Ok(token) => found.extend(token.map(|token| (name, token))),
            Err(error) => notes.push(format!("{error}; it is not used")),
        }
    }
    found
}

pub(crate) fn chat_template(meta: &Metadata) -> Option<String> {
    let default = meta.text("tokenizer.chat_template")?;
    let tool_use = meta.text("tokenizer.chat_template.tool_use");
    Some(for_tools(default, tool_use))
}

fn bos(meta: &Metadata, tokenizer: &Tokenizer) -> Result<Option<(u32, String)>> {
    token(meta, tokenizer, "bos_token_id")
}

fn token(meta: &Metadata, tokenizer: &Tokenizer, key: &str) -> Result<Option<(u32, String)>> {
    let key = format!("tokenizer.ggml.{key}");
    let Some(id) = meta.uint(&key)? else {
        return Ok(None);
    };
    u32::try_from(id)
        .ok()
        .and_then(|id| Some((id, tokenizer.id_to_token(id)?)))
        .map(Some)
        .ok_or_else(|| meta.wrong(&key, "outside the vocabulary"))
}

/// As in llama.cpp where the file does not say.
fn adds_bos(meta: &Metadata) -> bool {
    let by_kind = meta.text("tokenizer.ggml.model") == Some("llama")
        || pre_tokenizer(meta).is_some_and(|pre| pre.adds_bos);
    meta.flag("tokenizer.ggml.add_bos_token").unwrap_or(by_kind)
}

fn pre_tokenizer(meta: &Metadata) -> Option<&'static PreTokenizer> {
    families::pre_tokenizer(meta.text("tokenizer.ggml.pre")?)
}

fn byte_level(meta: &Metadata, tokens: &[String]) -> Result<Tokenizer> {
    let merges = meta
        .texts("tokenizer.ggml.merges")?
        .ok_or_else(|| meta.wrong("tokenizer.ggml.merges", "missing"))?;
    let merges = merges
        .iter()
        .map(|m| {
            m.split_once(' ')
                .map(|(a, b)| (a.to_string(), b.to_string()))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| meta.wrong("tokenizer.ggml.merges", "not a list of pairs"))?;
    let pre = pre_tokenizer(meta);
    let bpe = BPE::builder()
        .vocab_and_merges(vocab(tokens), merges)
        .ignore_merges(pre.is_some_and(|pre| pre.ignore_merges))
        .build()
        .map_err(|e| Error::at(meta.path, format!("tokenizer: {e}")))?;
    let Some(pre) = pre else {
        return Err(Error::at(
            meta.path,
            format!(
                "pre-tokenizer \"{}\" is not supported; supported: {} (or use the model's Hugging Face directory)",
                meta.text("tokenizer.ggml.pre").unwrap_or("missing"),
                families::pre_tokenizer_names()
            ),
        ));
    };
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer
        .with_normalizer(pre.nfc.then_some(NFC))
        .map_err(|e| Error::at(meta.path, e))?
        .with_pre_tokenizer(Some(splitter(meta, pre)?))
        .with_decoder(Some(ByteLevelDecoder::new(true, true, true)));
    Ok(tokenizer)
}

/// Cuts a text as `pre` says and puts its bytes into printable characters.
fn splitter(meta: &Metadata, pre: &PreTokenizer) -> Result<PreTokenizerWrapper> {
    Ok(match pre.split {
        Split::Gpt2 => ByteLevel::new(false, true, true).into(),
        Split::DigitsThenGpt2 => Sequence::new(vec![
            Digits::new(true).into(),
            ByteLevel::new(false, true, true).into(),
        ])
        .into(),
        Split::Regex(regex) => {
            let pattern = SplitPattern::Regex(regex.to_string());
            let split = SplitBy::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| Error::at(meta.path, e))?;
            Sequence::new(vec![
                split.into(),
                ByteLevel::new(false, true, false).into(),
            ])
            .into()
        }
    })
}

/// As transformers converts a SentencePiece BPE: its merges are the ways to split each piece, best
/// score first.
fn sentence_piece(meta: &Metadata, tokens: &[String]) -> Result<Tokenizer> {
    let scores = meta
        .list("tokenizer.ggml.scores")?
        .filter(|s| s.len() == tokens.len())
        .ok_or_else(|| meta.wrong("tokenizer.ggml.scores", "missing or of another length"))?;
    let vocab = vocab(tokens);
    let mut merges = Vec::new();
    for (id, piece) in tokens.iter().enumerate() {
        let score = match &scores[id] {
            Value::F32(score) => *score,
            _ => return Err(meta.wrong("tokenizer.ggml.scores", "not a list of numbers")),
        };
        let mut splits: Vec<(u32, u32)> = piece
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| Some((*vocab.get(&piece[..at])?, *vocab.get(&piece[at..])?)))
            .collect();
        splits.sort_unstable();
        merges.extend(splits.into_iter().map(|pair| (score, pair)));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0));
    let text = |id: u32| tokens[id as usize].clone();
    let merges = merges.into_iter().map(|(_, (a, b))| (text(a), text(b)));
    let mut bpe = BPE::builder()
        .vocab_and_merges(vocab.clone(), merges.collect())
        .fuse_unk(true)
        .byte_fallback(true);
    if let Some(unknown) = meta.uint("tokenizer.ggml.unknown_token_id")? {
        let unknown = tokens.get(unknown as usize).ok_or_else(|| {
            meta.wrong("tokenizer.ggml.unknown_token_id", "outside the vocabulary")
        })?;
        bpe = bpe.unk_token(unknown.clone());
    }
    let bpe = bpe
        .build()
        .map_err(|e| Error::at(meta.path, format!("tokenizer: {e}")))?;
    let replace = |from: &str, to: &str| {
        Replace::new(from, to).map_err(|e| Error::at(meta.path, format!("tokenizer: {e}")))
    };
    let prefix = meta.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let mut normalizers = Vec::new();
    let mut decoders: Vec<DecoderWrapper> = vec![
        replace("▁", " ")?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if prefix {
        normalizers.push(Prepend::new("▁".to_string()).into());
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    normalizers.push(replace(" ", "▁")?.into());
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer
        .with_normalizer(Some(Normalizers::new(normalizers)))
        .map_err(|e| Error::at(meta.path, e))?
        .with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

fn vocab(tokens: &[String]) -> Vocab {
    let ids = tokens.iter().enumerate();
    ids.map(|(id, text)| (text.clone(), id as u32)).collect()
}

fn kind_of(value: &Value) -> u64 {
    match value {
        Value::I32(kind) => *kind as u64,
        Value::U32(kind) => u64::from(*kind),
        _ => 0,
    }
}
