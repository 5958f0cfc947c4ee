//! Typed look-up in the JSON object of a config.json. An error says what is wrong, not where.

use serde_json::{Map, Value};

/// A JSON object; a key whose value is `null` counts as absent.
pub(crate) struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    /// Refuses a key that is not among these; `what` names the object.
    pub fn only(&self, known: &[&str], what: &str) -> Result<(), String> {
        let keys = self.0.iter().filter(|(_, value)| !value.is_null());
        let mut keys = keys.map(|(key, _)| key.as_str());
        match keys.find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(format!(
                "{what} has the key {key} = {}, which is not known here; remove it if it does not change the model",
                self.0[key]
            )),
        }
    }

    pub fn opt_size(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_u64() {
            // nothing larger fits in memory, and products of sizes must not overflow
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            _ => Err(format!("{key} is {value}, not a positive whole number")),
        }
    }

    pub fn size(&self, key: &str) -> Result<usize, String> {
        self.opt_size(key)?
            .ok_or_else(|| format!("{key} is missing"))
    }

    pub fn opt_number(&self, key: &str) -> Result<Option<f64>, String> {
        self.get(key)
            .map(|v| {
                v.as_f64()
                    .ok_or_else(|| format!("{key} is {v}, not a number"))
            })
            .transpose()
    }

    /// Absent counts as false.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        match self.get(key) {
            None => Ok(false),
            Some(v) => v
                .as_bool()
                .ok_or_else(|| format!("{key} is {v}, not true or false")),
        }
    }
}

/// Token ids given as nothing, one number or a list.
pub(crate) fn token_ids(value: Option<&Value>, key: &str) -> Result<Vec<u32>, String> {
    let id = |v: &Value| {
        v.as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| format!("{key} holds {v}, which is not a token id"))
    };
    match value {
        None => Ok(Vec::new()),
        // older files say -1 for "none"
        Some(v) if v.as_i64() == Some(-1) => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(one) => Ok(vec![id(one)?]),
    }
}
