//! Checks of `[data]` settings that several stages share.

use anyhow::{Result, ensure};

/// Refuses values of `[data]` that cannot work.
pub fn check_data(held_out: f64, max_rows: Option<usize>) -> Result<()> {
    ensure!(
        (0.0..1.0).contains(&held_out),
        "data.held_out = {held_out} is not in [0, 1)"
    );
    ensure!(
        max_rows != Some(0),
        "data.max_rows = 0 leaves nothing to train on"
    );
    Ok(())
}
