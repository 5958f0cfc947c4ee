//! Markdown that fits a terminal: tables and paragraphs of at most 100 columns.

/// Columns of text.
const WIDTH: usize = 100;

/// A column: its heading, and the cell of a row.
pub(super) type Column<'a, R> = (String, Cell<'a, R>);
type Cell<'a, R> = Box<dyn Fn(&R) -> Option<String> + 'a>;

/// The columns that have a value in at least one row, in as many tables as fit the width. Each
/// begins with the names of the rows under `corner`.
pub(super) fn tables<R>(corner: &str, names: &[&str], rows: &[R], columns: &[Column<R>]) -> String {
    let first: Vec<String> = [corner]
        .iter()
        .chain(names)
        .map(|n| n.to_string())
        .collect();
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    for (heading, cell) in columns {
        let cells: Vec<Option<String>> = rows.iter().map(cell).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let cells = cells.into_iter().map(|c| c.unwrap_or_else(|| "–".into()));
        let column: Vec<String> = [heading.clone()].into_iter().chain(cells).collect();
        match tables.last_mut() {
            Some(table) if total(table) + width(&column) + 3 <= WIDTH => table.push(column),
            _ => tables.push(vec![first.clone(), column]),
        }
    }
    tables.iter().map(|columns| table(columns)).collect()
}

fn table(columns: &[Vec<String>]) -> String {
    let line = |row: usize| {
        let cells = columns.iter().map(|column| {
            let cell = &column[row];
            format!("{cell}{}", " ".repeat(width(column) - cell.chars().count()))
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = columns.iter().map(|column| "-".repeat(width(column) + 2));
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    let rows = (1..columns[0].len()).map(line).collect::<String>();
    format!("{}{rule}{rows}\n", line(0))
}

/// Of a column's widest cell.
fn width(column: &[String]) -> usize {
    let widths = column.iter().map(|cell| cell.chars().count());
    widths.max().unwrap_or(0)
}

/// Of a table with its bars.
fn total(columns: &[Vec<String>]) -> usize {
    1 + columns
        .iter()
        .map(|column| width(column) + 3)
        .sum::<usize>()
}

/// The text with its lines broken between words.
pub(super) fn wrapped(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.lines() {
        let mut used = 0;
        for word in line.split(' ') {
            let n = word.chars().count();
            if used > 0 && used + 1 + n > WIDTH {
                wrapped.push('\n');
                used = 0;
            } else if used > 0 {
                wrapped.push(' ');
                used += 1;
            }
            wrapped.push_str(word);
            used += n;
        }
        wrapped.push('\n');
    }
    wrapped
}
