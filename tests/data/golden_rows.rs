//! Rows of a shape of data as the golden file of the shape has them (scripts/golden/shapes.py), and
//! as we read and encode them. Which ids are labels is in scripts/golden/README.md.

use data::{Ask, Demonstration, Encoder, Ends, Example, Format, Loaded, Preference, Prompt};
use data::{ReadOptions, Template};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use testkit::{golden, golden_json};
use tokenizers::Tokenizer;

/// Every shape, and the name of its format.
pub const SHAPES: [(&str, Format); 25] = [
    ("messages", Format::Chat),
    ("messages-blanks", Format::Chat),
    ("messages-parts", Format::Chat),
    ("sharegpt", Format::Chat),
    ("tools", Format::Chat),
    ("tools-sharegpt", Format::Chat),
    ("alpaca-history", Format::Alpaca),
    ("prompt-completion", Format::PromptCompletion),
    ("prompt-completion-messages", Format::PromptCompletion),
    ("transcripts", Format::PromptCompletion),
    ("kto", Format::Kto),
    ("kto-messages", Format::Kto),
    ("prompts", Format::PromptCompletion),
    ("fastchat", Format::Fastchat),
    ("preference", Format::Pairs),
    ("preference-messages", Format::Pairs),
    ("preference-implicit", Format::Pairs),
    ("llama-factory-preference", Format::Pairs),
    ("llama-factory-sharegpt-preference", Format::Pairs),
    ("ultrafeedback-binarized", Format::Pairs),
    ("ultrafeedback", Format::Ultrafeedback),
    ("hh", Format::Hh),
    ("transcripts-preference", Format::Pairs),
    ("comparison-v1", Format::ComparisonV1),
    ("comparison-v2", Format::ComparisonV2),
];

/// Stands between the lists of a hash.
const SEPARATOR: u32 = u32::MAX;

/// The records of a shape.
#[derive(Debug, PartialEq)]
pub enum Records {
    Demonstrations(Vec<Demonstration>),
    Preferences(Vec<Preference>),
    Prompts(Vec<Prompt>),
}

impl Records {
    fn prompts(&self) -> Vec<&Prompt> {
        match self {
            Self::Demonstrations(items) => items.iter().map(|item| &item.prompt).collect(),
            Self::Preferences(items) => items.iter().map(|item| &item.prompt).collect(),
            Self::Prompts(items) => items.iter().collect(),
        }
    }
}

/// A shape's golden file and our records of its rows.
pub struct Shape {
    pub name: &'static str,
    pub golden: Value,
    pub records: Records,
}

impl Shape {
    /// Reads all rows, by the named format and by `auto`: with the same result, one record for each
    /// of the reference's, from the same row.
    pub fn read(name: &'static str, format: Format) -> Self {
        let golden = golden_json(&format!("shapes/{name}.json"));
        let kind = golden["kind"].as_str().unwrap();
        let [(records, notes), by_auto] = [format, Format::Auto].map(|f| read(name, kind, f));
        assert!((&records, &notes) == (&by_auto.0, &by_auto.1), "{name}");
        let of = match golden.get("row_of_record") {
            Some(rows) => serde_json::from_value(rows.clone()).unwrap(),
            None => (0..200).collect::<Vec<usize>>(),
        };
        let ends = of.iter().map(|row| format!(": row {}", row + 1));
        let prompts = records.prompts();
        assert_eq!(prompts.len(), ends.len(), "{name}");
        for (prompt, end) in prompts.iter().zip(ends) {
            let origin = prompt.origin.to_string();
            assert!(origin.ends_with(&end), "{name}: {origin} is not{end}");
        }
        Self {
            name,
            golden,
            records,
        }
    }

    /// The labels of the golden file that a tokenizer has: it and a template.
    fn templates(&self, tokenizer: &str) -> Vec<&str> {
        let hashes = self.golden["hashes"].as_object().unwrap();
        let labels = hashes.keys().map(String::as_str);
        let of = |label: &&str| label.split(' ').next() == Some(tokenizer);
        labels.filter(of).collect()
    }

    /// Compares every record under every template of a tokenizer. Returns for each template and
    /// what is learnt how many of them differ by design; the others must be equal.
    pub fn check(&self, tokenizer: &str, of: &Tokenizer) -> BTreeMap<String, usize> {
        let mut n_differing = BTreeMap::new();
        let labels = self.templates(tokenizer);
        assert!(
            labels.len() > usize::from(tokenizer == "small"),
            "{labels:?}"
        );
        for label in labels {
            let template = label.split_once(' ').unwrap().1;
            let plain = encoder(of, template, false);
            for (learnt, hashes) in self.golden["hashes"][label].as_object().unwrap() {
                let encoder = match learnt.as_str() {
                    "tags" => &self::encoder(of, template, true),
                    _ => &plain,
                };
                let hashes = hashes.as_str().unwrap();
                let found = self.differing(encoder, learnt, hashes);
                let by_design = self.by_design(label, learnt);
                let what = format!("{} {label} {learnt}", self.name);
                assert_eq!(found, by_design, "{what}");
                if !found.is_empty() {
                    n_differing.insert(format!("{label} {learnt}"), found.len());
                }
                // tags around content and end token mark what is learnt without them
                let has_others = self.golden["hashes"][label].get("tags").is_some();
                if learnt == "all" && template != "plain" && !has_others {
                    let tagged = self::encoder(of, template, true);
                    let found = self.differing(&tagged, learnt, hashes);
                    assert!(found.is_empty(), "{what}: {found:?}");
                    let listed = self.listed(label, learnt);
                    self.check_cut(by_design.difference(&listed), [&plain, &tagged]);
                }
            }
        }
        n_differing
    }

    /// The records of which ids or labels have another hash.
    fn differing(&self, encoder: &Encoder, learnt: &str, hashes: &str) -> BTreeSet<usize> {
        let hash_of = |at: usize| &hashes[8 * at..8 * at + 8];
        let n = self.records.prompts().len();
        assert_eq!(hashes.len(), 8 * n);
        let differs = |at: &usize| {
            let found = self.numbers(*at, encoder, learnt).map(hashed);
            found.as_deref() != Some(hash_of(*at))
        };
        (0..n).filter(differs).collect()
    }

    /// The numbers that are hashed. None: the answers of a conversation are not one sequence.
    fn numbers(&self, at: usize, encoder: &Encoder, learnt: &str) -> Option<Vec<u32>> {
        match &self.records {
            Records::Demonstrations(rows) => {
                let example = match learnt {
                    "last" => last(encoder, &rows[at]),
                    _ => whole(encoder, &rows[at])?,
                };
                let mut labels = vec![0; example.ids.len()];
                example.labels().for_each(|range| labels[range].fill(1));
                Some([&example.ids[..], &[SEPARATOR], &labels].concat())
            }
            Records::Preferences(rows) => Some(pair(encoder, &rows[at]).join(&SEPARATOR)),
            Records::Prompts(rows) => Some(encoder.prompt(&rows[at]).unwrap()),
        }
    }

    /// The records in which a token spans the boundary of prompt and answer.
    fn listed(&self, label: &str, learnt: &str) -> BTreeSet<usize> {
        let listed = &self.golden["prefix_differs"][label][learnt];
        serde_json::from_value(listed.clone()).unwrap_or_default()
    }

    /// Rows with white space at the ends of answers are those without it as the template's tags,
    /// which are the reference's, mark them. `encoders`: without tags, and with them.
    fn check_cut<'a>(
        &self,
        records: impl Iterator<Item = &'a usize>,
        [plain, tagged]: [&Encoder; 2],
    ) {
        let Records::Demonstrations(rows) = &self.records else {
            return;
        };
        for at in records {
            let mut cut = rows[*at].clone();
            let trim = |text: &mut String| text.truncate(text.trim_end().len());
            trim(&mut cut.response);
            if let Ask::Chat(turns) = &mut cut.prompt.ask {
                let answers = turns.iter_mut().filter(|turn| turn.role == "assistant");
                answers.for_each(|turn| trim(&mut turn.content));
            }
            let [ours, reference] = [(plain, &rows[*at]), (tagged, &cut)].map(|(e, row)| {
                let example = whole(e, row).unwrap();
                (example.labels().collect::<Vec<_>>(), example.ids)
            });
            assert_eq!(ours, reference, "{} {at}", self.name);
        }
    }

    /// The records that differ by design. Where a token would span the boundary of prompt and
    /// answer, generation begins with the prompt's own tokens, and so do our rows; the reference's
    /// have that token. And white space at the end of an answer is not learnt: the reference keeps
    /// what the template keeps, and Llama 3's keeps none. Of the tags' own labels nothing differs.
    pub fn by_design(&self, label: &str, learnt: &str) -> BTreeSet<usize> {
        if learnt == "tags" {
            return BTreeSet::new();
        }
        let mut found = self.listed(label, learnt);
        if let Records::Demonstrations(rows) = &self.records
            && !label.ends_with(" llama-3")
        {
            let is_cut = |text: &str| text.ends_with([' ', '\n']);
            let earlier = |row: &Demonstration| match &row.prompt.ask {
                Ask::Chat(turns) => {
                    let mut answers = turns.iter().filter(|turn| turn.role == "assistant");
                    answers.any(|turn| is_cut(&turn.content))
                }
                _ => false,
            };
            let differs =
                |row: &Demonstration| is_cut(&row.response) || (learnt == "all" && earlier(row));
            found.extend((0..rows.len()).filter(|at| differs(&rows[*at])));
        }
        found
    }
}

/// Reads a shape's rows, of which none may be dropped.
pub fn read(name: &str, kind: &str, format: Format) -> (Records, Vec<String>) {
    fn all<T>(loaded: data::Result<Loaded<T>>, n_rows: usize) -> (Vec<T>, Vec<String>) {
        let Loaded { items, counts } = loaded.unwrap();
        // the reference makes no pair of equal scores either
        let mut dropped = counts.dropped;
        dropped.remove("pair with equal scores");
        assert_eq!((counts.n_rows, dropped), (n_rows, BTreeMap::new()));
        (items, counts.notes)
    }
    let path = golden(&format!("shapes/{name}.jsonl.gz"));
    // KTO's rows are demonstrations only for those who pass over the label
    let is_kto = name.starts_with("kto");
    let ignore = is_kto.then(|| "label".to_string());
    let options = ReadOptions {
        format,
        ignore: ignore.into_iter().collect(),
        ..ReadOptions::default()
    };
    match kind {
        "demonstrations" => {
            let (items, notes) = all(data::demonstrations(&path, options), 200);
            (Records::Demonstrations(items), notes)
        }
        "preferences" => {
            let (items, notes) = all(data::preferences(&path, options), 200);
            (Records::Preferences(items), notes)
        }
        _ => {
            let (items, notes) = all(data::prompts(&path, options), 200);
            (Records::Prompts(items), notes)
        }
    }
}

/// The tokenizer with a template of `shapes/templates.json`. `plain` is none: BOS, prompt, answer,
/// EOS.
pub fn encoder(tokenizer: &Tokenizer, template: &str, tags: bool) -> Encoder {
    let id = |text: &str| tokenizer.token_to_id(text);
    let encoder = |template, bos, end: &str| {
        let ends = Ends {
            bos,
            add_bos: true,
            eos: id(end).unwrap(),
            stop: Vec::new(),
        };
        Encoder::new(tokenizer.clone(), template, ends).unwrap()
    };
    if template == "plain" {
        return encoder(Template::Raw, id("<|begin_of_text|>"), "<|endoftext|>");
    }
    let family = &golden_json("shapes/templates.json")[template];
    let text = |key: &str| family[key].as_str().unwrap().to_string();
    let (bos, end) = (text("bos"), text("end"));
    let template = Template::Chat {
        source: text(if tags { "tags" } else { "plain" }),
        bos,
        eos: end.clone(),
        date: None,
    };
    // the templates write BOS where there is one
    encoder(template, None, &end)
}

pub fn last(encoder: &Encoder, row: &Demonstration) -> Example {
    encoder.demonstration(row).unwrap()
}

/// All answers of a row in a sequence. None: in several.
pub fn whole(encoder: &Encoder, row: &Demonstration) -> Option<Example> {
    let mut examples = encoder.conversation(row).unwrap();
    let whole = examples.pop()?;
    assert_eq!(whole.key, row.prompt.key());
    examples.is_empty().then_some(whole)
}

/// Prompt, chosen, rejected.
pub fn pair(encoder: &Encoder, row: &Preference) -> [Vec<u32>; 3] {
    let [chosen, rejected] =
        [&row.chosen, &row.rejected].map(|answer| encoder.example(&row.prompt, answer).unwrap());
    let (prompt, answer) = chosen.ids.split_at(chosen.prompt_len);
    assert_eq!(prompt, &rejected.ids[..rejected.prompt_len]);
    let other = rejected.ids[rejected.prompt_len..].to_vec();
    [prompt.to_vec(), answer.to_vec(), other]
}

/// The first eight hexadecimal digits of the SHA-256 of little-endian numbers.
fn hashed(numbers: Vec<u32>) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let digest = Sha256::digest(&bytes);
    digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
