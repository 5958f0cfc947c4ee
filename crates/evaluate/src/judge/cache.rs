//! Verdicts on disk, so that another run asks only for new ones. One JSON line per verdict;
//! failures are not stored.

use super::prompt::JudgePrompt;
use crate::jsonl::Appender;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// SHA-256 of judge model and prompt, hex.
    key: String,
    model: String,
    reply: String,
}

/// The replies of judges by model and prompt.
pub struct Cache {
    file: Appender,
    replies: BTreeMap<String, String>,
}

impl Cache {
    pub fn open(path: &Path) -> Result<Self> {
        let (file, entries) = Appender::open::<Entry>(path)?;
        let replies = entries.into_iter().map(|e| (e.key, e.reply)).collect();
        Ok(Self { file, replies })
    }

    /// The judge's reply to exactly this prompt, if it is cached.
    pub fn get(&self, model: &str, prompt: &JudgePrompt) -> Option<&str> {
        self.replies.get(&key(model, prompt)).map(String::as_str)
    }

    /// Stores a reply.
    pub fn put(&mut self, model: &str, prompt: &JudgePrompt, reply: &str) -> Result<()> {
        let entry = Entry {
            key: key(model, prompt),
            model: model.to_string(),
            reply: reply.to_string(),
        };
        self.file.push(&entry)?;
        self.replies.insert(entry.key, entry.reply);
        Ok(())
    }
}

fn key(model: &str, prompt: &JudgePrompt) -> String {
    let mut bytes = Vec::new();
    for part in [model, prompt.system, &prompt.user] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    run::hash(&bytes)
}
