//! Typed access to the objects in a list of a row.

use super::row::Row;
use super::scalar::number;
use crate::Result;
use serde_json::Value;

impl Row<'_> {
    /// A string inside a list, e.g. `responses_and_scores[2].response`.
    pub fn text_at<'v>(
        &self,
        field: &str,
        index: usize,
        item: &'v Value,
        key: &str,
    ) -> Result<&'v str> {
        let (name, value) = self.value_at(field, index, item, key)?;
        value
            .as_str()
            .ok_or_else(|| self.wrong(&name, value, "a string"))
    }

    /// A number inside a list, or one in a string, as some releases have it.
    pub fn number_at(&self, field: &str, index: usize, item: &Value, key: &str) -> Result<f64> {
        let (name, value) = self.value_at(field, index, item, key)?;
        number(value)
            .ok_or_else(|| self.error(format!("field \"{name}\" is {value}, not a number")))
    }

    fn value_at<'v>(
        &self,
        field: &str,
        index: usize,
        item: &'v Value,
        key: &str,
    ) -> Result<(String, &'v Value)> {
        if !item.is_object() {
            return Err(self.wrong(&format!("{field}[{index}]"), item, "an object"));
        }
        let name = format!("{field}[{index}].{key}");
        match item.get(key) {
            None => Err(self.error(format!("field \"{name}\" is missing"))),
            Some(value) => Ok((name, value)),
        }
    }
}
