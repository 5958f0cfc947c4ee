//! What a stage wants to know of the records themselves while they are prepared.

use crate::Result;

/// Sees every record before it is tokenised. What it finds is said in a later run, too, which reads
/// no record.
pub trait Look<T> {
    /// The next record, in the order of the data.
    fn see(&mut self, record: &T, is_held: bool);

    /// Sees every record during the first pass, before it is known which are held out. The same
    /// record comes to [`see`](Self::see) later.
    fn count(&mut self, record: &T);

    /// Called between the two passes of large data.
    ///
    /// Errors: the records cannot be used, whichever of them are held out. Without this,
    /// [`finish`](Self::finish) would fail only after all were tokenised.
    fn check(&self) -> Result<()>;

    /// The messages about all of them.
    ///
    /// Errors: the records cannot be used.
    fn finish(&mut self) -> Result<Vec<String>>;

    /// What the messages depend on, beside the records.
    fn identity(&self) -> String;
}

/// Nothing is looked at.
impl<T> Look<T> for () {
    fn see(&mut self, _: &T, _: bool) {}

    fn count(&mut self, _: &T) {}

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn identity(&self) -> String {
        String::new()
    }
}
