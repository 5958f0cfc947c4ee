//! Parquet: the rows that pyarrow reads (scripts/golden/parquet.py), and what is refused.

use super::containers::{error, gzip, read, zstd};
use super::file;
use crate::common::again_in_a_child;
use parquet::basic::{Compression, Encoding, GzipLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const GOLDEN: [&str; 4] = ["chat-zstd", "chat-v2-gzip", "numbers", "int96-lz4"];

fn golden(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("golden/parquet").join(format!("{name}.parquet"))
}

fn without_numbers(rows: Vec<(usize, Value)>) -> Vec<Value> {
    rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn rows_equal_those_of_pyarrow() {
    for name in GOLDEN {
        let path = golden(name);
        let expected = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
        let (rows, whole) = read(&path).unwrap();
        assert!(
            rows.iter()
                .map(|(number, _)| *number)
                .eq(1..=expected.len())
        );
        // as text: the order of the fields and every digit of the numbers
        let found = Value::Array(without_numbers(rows)).to_string();
        assert_eq!(found, Value::Array(expected).to_string(), "{name}");
        let stored = std::fs::read(&path).unwrap();
        assert_eq!(whole.sha256, Some(run::hash(&stored)));
        assert_eq!(whole.n_bytes, stored.len() as u64);
        let (_dir, compressed) = file("x.parquet.gz", gzip(&stored));
        let (rows, whole) = read(&compressed).unwrap();
        assert_eq!(Value::Array(without_numbers(rows)).to_string(), found);
        let stored = std::fs::read(&compressed).unwrap();
        assert_eq!(whole.sha256, Some(run::hash(&stored)));
    }
}

/// The copy that compressed parquet is read from may fill neither the disk nor be made to.
#[test]
#[cfg(target_os = "linux")]
fn compressed_parquet_needs_room_for_its_copy() {
    const STORED: &str = "FILE_OF_COMPRESSED_PARQUET";
    if let Ok(path) = std::env::var(STORED) {
        let found = read(Path::new(&path)).unwrap_err().to_string();
        let expected = "is compressed parquet, which is unpacked into /proc, where 0 MB are left; \
                        decompress the file, or set TMPDIR to a directory with more room";
        assert_eq!(found, format!("{path}: {expected}"));
        return;
    }
    let stored = std::fs::read(golden(GOLDEN[0])).unwrap();
    let (_dir, path) = file("x.parquet.gz", gzip(&stored));
    // a file system without room
    let variables = [(STORED, path.as_os_str()), ("TMPDIR", "/proc".as_ref())];
    let output = again_in_a_child(variables);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn compressed_parquet_has_a_bounded_ratio() {
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let mut content = b"PAR1\x15".to_vec();
    content.extend(noise.take(1 << 20));
    content.resize(80 << 20, 0);
    assert_eq!(
        error("x.parquet.zst", zstd(&content)),
        "is compressed parquet of more than 30 times its size; if that is meant, decompress the \
         file first"
    );
}

/// Whatever is cut off or changed, it is an error or the same number of rows, and never a panic.
#[test]
fn damaged_files_are_one_line() {
    for name in GOLDEN {
        let whole = std::fs::read(golden(name)).unwrap();
        let n_rows = read(&golden(name)).unwrap().0.len();
        for at in (0..whole.len()).step_by(whole.len() / 60) {
            for name in ["x.jsonl", "x.parquet"] {
                let text = error(name, &whole[..at]);
                assert!(at < 4 || text.contains("the parquet file"), "{at}: {text}");
            }
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let (_dir, path) = file("x.parquet", &changed);
            match read(&path) {
                Ok((rows, _)) => assert_eq!(rows.len(), n_rows, "{name}: {at}"),
                Err(e) => assert!(!e.to_string().contains('\n'), "{e}"),
            }
        }
    }
    let found = error("x.parquet", b"PAR1\x15\x04");
    assert!(
        found.starts_with("the parquet file is damaged: "),
        "{found}"
    );
}

/// Values of a file's only column.
enum Values<'a> {
    Ints(&'a [i64]),
    Floats(&'a [f64]),
    Bytes(&'a [&'a [u8]]),
    Fixed(&'a [&'a [u8]]),
}

/// A file of one column with its levels.
fn column(field: &str, values: Values, defs: &[i16], reps: &[i16]) -> Vec<u8> {
    write(
        field,
        values,
        defs,
        reps,
        WriterProperties::builder().build(),
    )
}

fn write(
    field: &str,
    values: Values,
    defs: &[i16],
    reps: &[i16],
    properties: WriterProperties,
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {field} }}")).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, properties.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let (defs, reps) = (Some(defs), Some(reps));
    match (column.untyped(), values) {
        (ColumnWriter::Int64ColumnWriter(to), Values::Ints(values)) => {
            to.write_batch(values, defs, reps).unwrap();
        }
        (ColumnWriter::DoubleColumnWriter(to), Values::Floats(values)) => {
            to.write_batch(values, defs, reps).unwrap();
        }
        (ColumnWriter::ByteArrayColumnWriter(to), Values::Bytes(values)) => {
            let values: Vec<_> = values.iter().map(|v| ByteArray::from(v.to_vec())).collect();
            to.write_batch(&values, defs, reps).unwrap();
        }
        (ColumnWriter::FixedLenByteArrayColumnWriter(to), Values::Fixed(values)) => {
            let values = values.iter().map(|v| ByteArray::from(v.to_vec()).into());
            let values: Vec<FixedLenByteArray> = values.collect();
            to.write_batch(&values, defs, reps).unwrap();
        }
        _ => panic!("{field}"),
    }
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

/// Lists and maps as older writers have them.
#[test]
fn older_lists_and_maps_are_read() {
    #[track_caller]
    fn check(field: &str, defs: &[i16], reps: &[i16], expected: &[Value]) {
        let content = column(field, Values::Ints(&[1, 2, 3]), defs, reps);
        let (_dir, path) = file("x.parquet", content);
        let (rows, _) = read(&path).unwrap();
        let rows = without_numbers(rows)
            .into_iter()
            .map(|mut row| row["a"].take());
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
    let (defs, reps) = (&[1, 1, 0, 1][..], &[0, 1, 0, 0][..]);
    let lists = [json!([1, 2]), json!([]), json!([3])];
    check("repeated int64 a;", defs, reps, &lists);
    check(
        "required group a (LIST) { repeated int64 element; }",
        defs,
        reps,
        &lists,
    );
    let structs = [json!([{"x": 1}, {"x": 2}]), json!([]), json!([{"x": 3}])];
    check(
        "repeated group a { required int64 x; }",
        defs,
        reps,
        &structs,
    );
    let array = "required group a (LIST) { repeated group array { required int64 x; } }";
    check(array, defs, reps, &structs);
    let tuple = "required group a (LIST) { repeated group a_tuple { required int64 x; } }";
    check(tuple, defs, reps, &structs);
    let list = "required group a (LIST) { repeated group bag { required int64 item; } }";
    check(list, defs, reps, &lists);
    let nulls = "optional group a (LIST) { repeated group list { optional int64 element; } }";
    let expected = [json!([1, null]), json!(null), json!([]), json!([2, 3])];
    check(nulls, &[3, 2, 0, 1, 3, 3], &[0, 1, 0, 0, 0, 1], &expected);
    let lists = "required group a (LIST) { repeated group array (LIST) { repeated int64 array; } }";
    let expected = [json!([[1, 2], [3]]), json!([[]]), json!([])];
    check(lists, &[2, 2, 2, 1, 0], &[0, 2, 1, 0, 0], &expected);
    let keys = "required group a (MAP) { repeated group map { required int64 key; } }";
    check(keys, &[1, 1, 1], &[0, 1, 1], &[json!([1, 2, 3])]);
}

#[test]
fn values_that_json_does_not_have_are_refused_by_row_and_column() {
    #[track_caller]
    fn check(field: &str, values: Values, expected: &str) {
        let n_rows = 2;
        let content = column(field, values, &vec![0; n_rows], &vec![0; n_rows]);
        assert_eq!(error("x.parquet", content), expected);
    }
    check(
        "required double score;",
        Values::Floats(&[1.0, f64::NAN]),
        "row 2: column \"score\" is NaN, which is no number; remove such rows",
    );
    check(
        "required double score;",
        Values::Floats(&[f64::NEG_INFINITY, 1.0]),
        "row 1: column \"score\" is infinite, which is no number of JSON; remove such rows",
    );
    for field in ["required binary image;", "required binary image (STRING);"] {
        check(
            field,
            Values::Bytes(&[b"text", b"\x89PNG\xff"]),
            "row 2: column \"image\" holds bytes that are not UTF-8 text; leave the column out, \
             or ignore it",
        );
    }
    check(
        "required fixed_len_byte_array(12) span (INTERVAL);",
        Values::Fixed(&[&[0; 12], &[0; 12]]),
        "column \"span\" holds intervals, which is not read; leave the column out, or ignore it",
    );
}

/// Images, vectors and the like beside the texts.
#[test]
fn a_column_that_json_does_not_have_can_be_ignored() {
    let values = Values::Bytes(&[b"text", b"\x89PNG\xff"]);
    let content = column("required binary image;", values, &[0, 0], &[0, 0]);
    let (_dir, path) = file("x.parquet", content);
    let mut rows = Vec::new();
    let ignore = ["image".to_string()];
    row_files::for_each_row(&path, &ignore, &mut |_, row: &row_files::Object| {
        rows.push(row["image"].clone());
        Ok::<_, row_files::Error>(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(rows, [json!("text"), json!(true)]);
}

#[test]
fn numbers_are_exact() {
    #[track_caller]
    fn check(field: &str, values: Values, expected: [&str; 2]) {
        let content = column(field, values, &[0, 0], &[0, 0]);
        let (_dir, path) = file("x.parquet", content);
        let (rows, _) = read(&path).unwrap();
        let found: Vec<_> = rows.iter().map(|(_, row)| row["a"].to_string()).collect();
        assert_eq!(found, expected, "{field}");
    }
    let ints = [i64::MIN, i64::MAX];
    let texts = ["-9223372036854775808", "9223372036854775807"];
    check("required int64 a;", Values::Ints(&ints), texts);
    let texts = ["9223372036854775808", "18446744073709551615"];
    let field = "required int64 a (INTEGER(64, false));";
    check(field, Values::Ints(&[i64::MIN, -1]), texts);
    let floats = [0.1 + 0.2, -1e-310];
    let texts = ["0.30000000000000004", "-1e-310"];
    check("required double a;", Values::Floats(&floats), texts);
    let field = "required int64 a (DECIMAL(15, 3));";
    check(field, Values::Ints(&[-7, 12_345]), ["-0.007", "12.345"]);
    let field = "required int64 a (DECIMAL(18, 3));";
    check(
        field,
        Values::Ints(&[-7, 12_345]),
        ["\"-0.007\"", "\"12.345\""],
    );
    let times = Values::Ints(&[-1, 1_700_000_000_123_456_789]);
    let texts = [
        "\"1969-12-31T23:59:59.999999999+00:00\"",
        "\"2023-11-14T22:13:20.123456789+00:00\"",
    ];
    check("required int64 a (TIMESTAMP(NANOS, true));", times, texts);
}

#[test]
fn a_column_that_is_there_twice_is_refused() {
    let content = column(
        "required group a { required int64 x; }",
        Values::Ints(&[1]),
        &[0],
        &[0],
    );
    let (_dir, path) = file("x.parquet", &content);
    assert_eq!(read(&path).unwrap().0[0].1, json!({"a": {"x": 1}}));
    let schema = "message m { required int64 a; required int64 a; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        if let ColumnWriter::Int64ColumnWriter(to) = column.untyped() {
            to.write_batch(&[1], None, None).unwrap();
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    assert_eq!(error("x.parquet", bytes), "has the column \"a\" twice");
}

#[test]
fn large_pages_rows_and_bombs_are_bounded() {
    let long = vec![b'x'; 17 << 20];
    let values = [&b"a"[..], &long, b"b"];
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .build();
    let content = write(
        "required binary a;",
        Values::Bytes(&values),
        &[0; 3],
        &[0; 3],
        properties,
    );
    let (_dir, path) = file("x.parquet", content);
    let (rows, whole) = read(&path).unwrap();
    assert_eq!(rows, [(1, json!({"a": "a"})), (3, json!({"a": "b"}))]);
    assert_eq!(whole.n_too_big, 1);
    let most = row_files::MAX_ROW_VALUES - 1;
    let (n_long, n_short) = (most + 1, most);
    let reps = |n| std::iter::once(0).chain(std::iter::repeat_n(1, n - 1));
    let content = column(
        "repeated int64 a;",
        Values::Ints(&vec![7; n_long + n_short]),
        &vec![1; n_long + n_short],
        &reps(n_long).chain(reps(n_short)).collect::<Vec<_>>(),
    );
    let (_dir, path) = file("x.parquet", content);
    let (rows, whole) = read(&path).unwrap();
    let list = rows[0].1["a"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].0, list.len()), (1, 2, most));
    assert_eq!(whole.n_too_big, 1);
    let bomb = |n: usize| {
        let zeros = vec![b' '; 15 << 20];
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_compression(Compression::GZIP(GzipLevel::try_new(9).unwrap()))
            .build();
        let values = vec![&zeros[..]; n];
        write(
            "required binary a;",
            Values::Bytes(&values),
            &vec![0; n],
            &vec![0; n],
            properties,
        )
    };
    let found = error("x.parquet", bomb(6));
    assert_eq!(
        found,
        "the parquet file is damaged: pages that expand to more than 300 times their size"
    );
    let (_dir, path) = file("x.parquet", bomb(2));
    assert_eq!(read(&path).unwrap().0.len(), 2);
}
