//! Typed look-up in the metadata of a GGUF file. An error names the file and the key.

use crate::{Error, Result};
use candle_core::quantized::gguf_file::{Content, Value};
use std::path::Path;

pub(crate) struct Metadata<'a> {
    pub path: &'a Path,
    pub content: &'a Content,
}

impl<'a> Metadata<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.content.metadata.get(key)
    }

    pub fn uint(&self, key: &str) -> Result<Option<u64>> {
        self.get(key)
            .map(|v| {
                let small = |v: i64| u64::try_from(v).ok();
                let number = match v {
                    Value::U8(v) => Some(u64::from(*v)),
                    Value::U16(v) => Some(u64::from(*v)),
                    Value::U32(v) => Some(u64::from(*v)),
                    Value::U64(v) => Some(*v),
                    Value::I8(v) => small(i64::from(*v)),
                    Value::I16(v) => small(i64::from(*v)),
                    Value::I32(v) => small(i64::from(*v)),
                    Value::I64(v) => small(*v),
                    _ => None,
                };
                number.ok_or_else(|| self.wrong(key, "not a whole number"))
            })
            .transpose()
    }

    pub fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        match self.uint(key)? {
            None => Ok(None),
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            Some(_) => Err(self.wrong(key, "out of range")),
        }
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?
            .ok_or_else(|| self.wrong(key, "missing"))
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|v| match v {
                Value::F32(v) => Ok(f64::from(*v)),
                Value::F64(v) => Ok(*v),
                _ => Err(self.wrong(key, "not a number")),
            })
            .transpose()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(on) => Some(*on),
            _ => None,
        }
    }

    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "not a list")),
        }
    }

    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(list) = self.list(key)? else {
            return Ok(None);
        };
        list.iter()
            .map(|v| match v {
                Value::String(text) => Ok(text.clone()),
                _ => Err(self.wrong(key, "not a list of texts")),
            })
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }

    pub fn wrong(&self, key: &str, what: &str) -> Error {
        Error::at(self.path, format!("metadata {key} is {what}"))
    }
}
