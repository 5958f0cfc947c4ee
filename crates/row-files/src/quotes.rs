//! Looks for text after the quote that closes a cell of CSV, which the parser would join to the
//! cell without its quotes: `"he said "hi""`.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Where in a cell the next byte is.
#[derive(Clone, Copy)]
enum At {
    Start,
    Bare,
    Quoted,
    /// After a quote inside a cell in quotes: it closes the cell, or is the first of two
    Quote,
}

/// Passes bytes on, and notes the line of the first such text.
pub(crate) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    at: At,
    line: u64,
    found: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Quotes<R> {
    pub fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            at: At::Start,
            line: 1,
            found: Rc::default(),
        }
    }

    /// The line of the first text after a closing quote.
    pub fn found(&self) -> Rc<Cell<Option<u64>>> {
        Rc::clone(&self.found)
    }

    fn see(&mut self, byte: u8) {
        let ends_cell = byte == self.delimiter || byte == b'\n' || byte == b'\r';
        self.at = match (self.at, byte) {
            (At::Start, b'"') | (At::Quote, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (At::Start | At::Bare | At::Quote, _) if ends_cell => At::Start,
            (At::Start | At::Bare, _) => At::Bare,
            (At::Quote, _) => {
                let first = self.found.get().unwrap_or(self.line);
                self.found.set(Some(first));
                At::Bare
            }
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        buffer[..n].iter().for_each(|byte| self.see(*byte));
        Ok(n)
    }
}
