//! The rows of data/shapes give the same records from every container. In a table turns
//! and lists are text of JSON, and a field that a row has not is empty or null.

use super::containers::{gzip, zstd};
use super::file;
use data::{Format, Loaded, ReadOptions};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Rows = Vec<Map<String, Value>>;

/// Every file of data/shapes that has objects.
fn shapes() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/shapes");
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let has_objects = |file: &PathBuf| {
        file.extension()
            .is_some_and(|e| e == "json" || e == "jsonl")
    };
    files.filter(has_objects).collect()
}

fn rows_of(path: &Path) -> Rows {
    let mut rows = Vec::new();
    row_files::for_each_row(path, &[], &mut |_, row: &Map<String, Value>| {
        rows.push(row.clone());
        Ok::<_, row_files::Error>(ControlFlow::Continue(()))
    })
    .unwrap();
    rows
}

/// The names of all fields, and the rows' cells; None: the row has not the field.
fn table(rows: &Rows) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().flat_map(Map::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let cell = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells = |row: &Map<String, Value>| names.iter().map(|n| row.get(n).map(cell)).collect();
    let cells = rows.iter().map(cells).collect();
    (names, cells)
}

fn separated(rows: &Rows, by: char) -> Vec<u8> {
    let (names, cells) = table(rows);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut lines = names
        .iter()
        .map(|n| quoted(n))
        .collect::<Vec<_>>()
        .join(&by.to_string());
    for row in cells {
        let row = row
            .into_iter()
            .map(|cell| quoted(&cell.unwrap_or_default()));
        write!(lines, "\n{}", row.collect::<Vec<_>>().join(&by.to_string())).unwrap();
    }
    lines.into_bytes()
}

/// Columns of optional texts.
fn parquet(rows: &Rows) -> Vec<u8> {
    let (names, cells) = table(rows);
    let fields = names
        .iter()
        .map(|name| format!("optional binary {name} (UTF8); "));
    let schema = format!("message m {{ {}}}", fields.collect::<String>());
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for at in 0..names.len() {
        let mut column = group.next_column().unwrap().unwrap();
        let texts = cells.iter().map(|row| row[at].as_deref());
        let levels: Vec<i16> = texts.clone().map(|text| text.is_some().into()).collect();
        let values: Vec<ByteArray> = texts.flatten().map(ByteArray::from).collect();
        let ColumnWriter::ByteArrayColumnWriter(to) = column.untyped() else {
            panic!("a column of texts");
        };
        to.write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

/// What every stage reads of a file: the records, or that it cannot use them.
fn read(path: &Path) -> Vec<Option<String>> {
    fn items<T: std::fmt::Debug + serde::Serialize>(
        loaded: data::Result<Loaded<T>>,
    ) -> Option<String> {
        loaded
            .ok()
            .map(|loaded| serde_json::to_string(&loaded.items).unwrap())
    }
    let options = || ReadOptions {
        format: Format::Auto,
        ignore: vec!["label".to_string()],
        ..ReadOptions::default()
    };
    vec![
        items(data::demonstrations(path, options())),
        items(data::preferences(path, options())),
        items(data::prompts(path, options())),
    ]
}

#[test]
fn the_shapes_are_the_same_in_every_container() {
    let shapes = shapes();
    assert!(shapes.len() >= 22);
    for path in shapes {
        let rows = rows_of(&path);
        let expected = read(&path);
        assert!(expected.iter().flatten().count() > 0, "{}", path.display());
        let json = serde_json::to_vec_pretty(&rows).unwrap();
        let line = |row| serde_json::to_string(row).unwrap() + "\n";
        let lines = rows.iter().map(line).collect::<String>().into_bytes();
        let files = [
            ("x.json", json),
            ("x.jsonl", lines),
            ("x.csv", separated(&rows, ',')),
            ("x.tsv", separated(&rows, '\t')),
            ("x.parquet", parquet(&rows)),
        ];
        for (name, content) in files {
            let mut packed = vec![(name.to_string(), content.clone())];
            if name != "x.parquet" {
                packed.push((format!("{name}.gz"), gzip(&content)));
                packed.push((format!("{name}.zst"), zstd(&content)));
            }
            for (name, content) in packed {
                let (_dir, other) = file(&name, content);
                assert_eq!(read(&other), expected, "{} as {name}", path.display());
            }
        }
    }
}
