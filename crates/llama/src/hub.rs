//! hub
use crate::{Error, Result};
use std::path::PathBuf;

pub(crate) fn fetch(id: &str) -> Result<PathBuf> {
    Err(Error::Input(format!("{id}: the hub is not asked yet")))
}
