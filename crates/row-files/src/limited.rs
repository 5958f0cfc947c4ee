//! A reader that gives only so many bytes for one row, so that a row without an end is not held.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Fails once more than a limit was read since [`Limit::restart`]. What reads ahead has its buffer
/// counted to the next row.
pub(crate) struct Limited<R> {
    inner: R,
    limit: Limit,
}

/// The limit of a [`Limited`] reader, which the reader itself does not give back.
#[derive(Clone)]
pub(crate) struct Limit {
    n_max: u64,
    left: Rc<Cell<u64>>,
    passed: Rc<Cell<bool>>,
}

impl<R: Read> Limited<R> {
    pub fn new(inner: R, n_max: u64) -> Self {
        let limit = Limit {
            n_max,
            left: Rc::new(Cell::new(n_max)),
            passed: Rc::default(),
        };
        Self { inner, limit }
    }

    pub fn limit(&self) -> Limit {
        self.limit.clone()
    }
}

impl Limit {
    /// A row has ended.
    pub fn restart(&self) {
        self.left.set(self.n_max);
    }

    /// Whether the row was too long.
    pub fn is_passed(&self) -> bool {
        self.passed.get()
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)? as u64;
        match self.limit.left.get().checked_sub(n) {
            Some(left) => self.limit.left.set(left),
            None => {
                self.limit.passed.set(true);
                return Err(io::Error::other("a row is too long"));
            }
        }
        Ok(n as usize)
    }
}
