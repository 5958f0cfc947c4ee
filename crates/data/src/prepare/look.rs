//! What a stage wants to know of the records themselves while they are prepared.

use crate::Result;

/// Sees every record before it is tokenised. What it finds is said in a later run, too, which reads
/// no record.
pub trait Look<T> {
    /// The next record, in the order of the data.
    fn see(&mut self, record: &T, is_held: bool);

    /// The next record while all are counted, before it is known which are held out.
    /// [`see`](Self::see) gets it later.
    fn count(&mut self, record: &T);

    /// Errors: whichever records are held out, they cannot be used. [`finish`](Self::finish) would
    /// find it after all were tokenised.
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
