//! CSV and TSV with a header. Every cell is a string, an empty one the empty string; a cell in
//! quotes may hold line breaks. A first column without a name that holds numbers, as pandas writes
//! its index, is left out. A row that has not a cell for each column is refused, and so is a header
//! of more than [`MAX_ROW_VALUES`] columns.

use crate::each::{Each, Stop};
use crate::error::{Error, file_error, row_error};
use crate::limited::{Limit, Limited};
use crate::quotes::Quotes;
use crate::row::{MAX_ROW_BYTES, MAX_ROW_VALUES, Object};
use csv::ByteRecord;
use serde_json::Value;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::Path;
use std::rc::Rc;

/// Stands after the last line: it is a row of its own unless a quote is still open.
const END: &[u8] = b"\n\x01end of the file\x01\n";

/// Calls `each` for every row after the header; rows count from 1. Returns what was left out.
pub(crate) fn read(
    path: &Path,
    delimiter: u8,
    reader: &mut dyn BufRead,
    each: &mut Each,
) -> Result<Option<String>, Stop> {
    let quotes = Quotes::new(reader.chain(END), delimiter);
    let after_quote = quotes.found();
    let limited = Limited::new(quotes, MAX_ROW_BYTES as u64);
    let mut table = Table {
        path,
        after_quote,
        limit: limited.limit(),
        csv: csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(limited),
        record: ByteRecord::new(),
        is_crlf: false,
        n_rows: 0,
        has_index: false,
    };
    if !table.advance()? {
        let what = "is empty; expected a header with the names of the columns";
        return Err(file_error(path, what).into());
    }
    let names = names(path, delimiter, &table.record)?;
    table.has_index = names[0].trim().is_empty();
    table.is_crlf = table.csv.position().line() == 1;
    while table.advance()? {
        table.n_rows += 1;
        let row = table.row(&names)?;
        each(table.n_rows, &row)?;
    }
    let note = "the first column has no name and holds whole numbers: it is left out as the index \
                of pandas (df.to_csv(path, index=False) writes none)";
    Ok((table.has_index && table.n_rows > 0).then(|| format!("{note}; rows: {}", table.n_rows)))
}

struct Table<'a, R> {
    path: &'a Path,
    /// The line of the first text after a closing quote
    after_quote: Rc<Cell<Option<u64>>>,
    csv: csv::Reader<R>,
    limit: Limit,
    record: ByteRecord,
    /// Whether the parser is between the two bytes of a line break after a record
    is_crlf: bool,
    /// Rows before the current one
    n_rows: usize,
    /// Whether the first column is pandas' index
    has_index: bool,
}

impl<R: Read> Table<'_, R> {
    /// Reads the next record; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        self.limit.restart();
        let line = self.csv.position().line() + u64::from(self.is_crlf);
        let read = self.csv.read_byte_record(&mut self.record);
        if let Some(line) = self.after_quote.get() {
            let what =
                "has text after the quote that closes a cell; write a quote inside a cell twice";
            return Err(file_error(self.path, format_args!("line {line}: {what}")));
        }
        let next = |what: String| row_error(self.path, self.n_rows + 1, what);
        match read {
            Err(_) if self.limit.is_passed() => Err(next(format!(
                "is longer than 16 MiB (from line {line} on); is a quote left open?"
            ))),
            Err(e) => Err(next(format!("cannot be read: {e}"))),
            Ok(_) if self.record.get(0) == Some(END.trim_ascii()) => Ok(false),
            Ok(false) => Ok(false),
            Ok(true) => match self.record.iter().next_back() {
                Some(last) if last.ends_with(END) || last.ends_with(END.trim_ascii_end()) => {
                    Err(next(format!(
                        "opens a quote that is never closed (from line {line} on)"
                    )))
                }
                _ => Ok(true),
            },
        }
    }

    /// The line of the file in which the current record begins.
    fn line(&self) -> u64 {
        let n_within = self
            .record
            .as_slice()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let end = self.csv.position().line() - u64::from(!self.is_crlf);
        end.saturating_sub(n_within as u64)
    }

    fn row(&self, names: &[String]) -> Result<Object, Error> {
        let fail = |what: String| row_error(self.path, self.n_rows, what);
        let (n_cells, n_columns) = (self.record.len(), names.len());
        if n_cells != n_columns {
            let line = self.line();
            return Err(fail(format!(
                "has {} in line {line}, but the header has {}",
                cells(n_cells),
                cells(n_columns)
            )));
        }
        let cell = |(name, cell): (&String, &[u8])| {
            let text = str::from_utf8(cell)
                .map_err(|_| fail("is not UTF-8 text; convert the file to UTF-8".into()))?;
            Ok((name.clone(), Value::from(text)))
        };
        let index = self.record.get(0).filter(|_| self.has_index);
        if let Some(index) = index.filter(|cell| !is_whole_number(cell)) {
            return Err(fail(format!(
                "has {:?} in a column without a name; name the column in the header, or leave it \
                 out",
                String::from_utf8_lossy(index)
            )));
        }
        let cells = names.iter().zip(&self.record);
        let n_skipped = usize::from(self.has_index);
        cells.skip(n_skipped).map(cell).collect()
    }
}

fn is_whole_number(cell: &[u8]) -> bool {
    !cell.is_empty() && cell.iter().all(u8::is_ascii_digit)
}

fn cells(n: usize) -> String {
    match n {
        1 => "1 cell".to_string(),
        n => format!("{n} cells"),
    }
}

/// The names of the columns.
fn names(path: &Path, delimiter: u8, header: &ByteRecord) -> Result<Vec<String>, Error> {
    let fail = |what: String| file_error(path, what);
    if header.len() > MAX_ROW_VALUES {
        let n = header.len();
        return Err(fail(format!(
            "the header has {n} columns, more than a million; leave columns out"
        )));
    }
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (at, name) in header.iter().enumerate() {
        let number = at + 1;
        let name = str::from_utf8(name)
            .map_err(|_| fail("the header is not UTF-8 text; convert the file to UTF-8".into()))?;
        let is_index = at == 0 && header.len() > 1;
        if name.trim().is_empty() && !is_index {
            return Err(fail(format!(
                "the header has no name for column {number}; name it, or leave the column out"
            )));
        }
        if !seen.insert(name) {
            return Err(fail(format!(
                "the header has the name {name:?} twice; rename one of the columns"
            )));
        }
        names.push(name.to_string());
    }
    let only = names.first().filter(|_| names.len() == 1);
    match only.and_then(|name| other_delimiter(delimiter, name)) {
        Some(what) => Err(fail(what)),
        None => Ok(names),
    }
}

/// What is wrong where the one name of a header is several with another delimiter.
fn other_delimiter(delimiter: u8, name: &str) -> Option<String> {
    let (own, ending) = match delimiter {
        b'\t' => ("tabs", "tsv"),
        _ => ("commas", "csv"),
    };
    let others = [
        ('\t', "tabs", "name it .tsv".to_string()),
        (';', "semicolons", format!("write it with {own}")),
        ('|', "vertical bars", format!("write it with {own}")),
        (',', "commas", "name it .csv".to_string()),
    ];
    let mut found = others.into_iter().filter(|(c, ..)| name.contains(*c));
    let (_, other, remedy) = found.next()?;
    Some(format!(
        "is named .{ending}, but its header is separated by {other}, not {own}; {remedy}"
    ))
}
