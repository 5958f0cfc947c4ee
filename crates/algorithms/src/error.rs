//! The errors of this crate.

pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a method.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting, a column or a checkpoint that the method cannot work with; one line for the user.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
