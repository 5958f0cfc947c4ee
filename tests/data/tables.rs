//! CSV and TSV: what is wrong with a header or a row is named with the line.

use super::containers::{error, read};
use super::file;

#[test]
fn headers_are_checked() {
    #[track_caller]
    fn check(name: &str, content: &str, expected: &str) {
        assert_eq!(error(name, content), expected);
    }
    let empty = "is empty; expected a header with the names of the columns";
    check("x.csv", "", empty);
    check("x.csv", "\n\n", empty);
    check("x.csv", "a,b\n", "has no rows");
    let unnamed = "the header has no name for column 2; name it, or leave the column out";
    check("x.csv", "prompt,\na,0\n", unnamed);
    let one = "the header has no name for column 1; name it, or leave the column out";
    check("x.csv", "\"\"\n0\n", one);
    let twice = "the header has the name \"a\" twice; rename one of the columns";
    check("x.csv", "a,b,a\n1,2,3\n", twice);
    let tabs = "is named .csv, but its header is separated by tabs, not commas; name it .tsv";
    check("x.csv", "a\tb\n1\t2\n", tabs);
    let semicolons = "is named .csv, but its header is separated by semicolons, not commas; write \
                      it with commas";
    check("x.csv", "a;b\n1;2\n", semicolons);
    let commas = "is named .tsv, but its header is separated by commas, not tabs; name it .csv";
    check("x.tsv.gz", "a,b\n1,2\n", commas);
    for content in ["\u{feff}a,b\n", "a,b\n"] {
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let utf_16: Vec<u8> = content.encode_utf16().flat_map(to_bytes).collect();
            let found = error("x.csv", utf_16);
            assert!(
                found.starts_with("is UTF-16 text; convert the file"),
                "{found}"
            );
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_refused_with_the_line() {
    let start = "a,b\n\"x\ny\",1\n";
    for (rest, expected) in [
        (
            "1\n",
            "row 2: has 1 cell in line 4, but the header has 2 cells",
        ),
        (
            "\n1,2,3\n",
            "row 2: has 3 cells in line 5, but the header has 2 cells",
        ),
        (
            "1,\"open\n2,3\n",
            "row 2: opens a quote that is never closed (from line 4 on)",
        ),
        (
            "1,\"open",
            "row 2: opens a quote that is never closed (from line 4 on)",
        ),
        (
            "1,\"said \"\"no\"\" and \"hi\"\"\n",
            "line 4: has text after the quote that closes a cell; write a quote inside a cell twice",
        ),
    ] {
        let content = format!("{start}{rest}");
        assert_eq!(error("x.csv", &content), expected);
        assert_eq!(error("x.csv", content.replace('\n', "\r\n")), expected);
    }
    let latin_1 = [start.as_bytes(), b"caf\xe9,1\n"].concat();
    let expected = "row 2: is not UTF-8 text; convert the file to UTF-8";
    assert_eq!(error("x.csv", latin_1), expected);
    let long = format!("{start}1,\"{}", "a,b\n".repeat(5 << 20));
    let expected = "row 2: is longer than 16 MiB (from line 4 on); is a quote left open?";
    assert_eq!(error("x.csv", long), expected);
}

/// A quote within a cell is a letter, and the last row needs no line break.
#[test]
fn odd_but_whole_tables_are_read() {
    for (content, cells) in [
        ("a\n5\" disk\nx", &["5\" disk", "x"][..]),
        ("a\n\"\"\n\"x\"\"\"", &["", "x\""]),
        ("a\rx\ry\r", &["x", "y"]),
        ("a\n\"x\"\n\n\n", &["x"]),
    ] {
        let (_dir, path) = file("x.csv", content);
        let (rows, _) = read(&path).unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|(_, row)| row["a"].as_str().unwrap())
            .collect();
        assert_eq!(found, cells, "{content:?}");
    }
}

/// The first column of `df.to_csv(path)`, of a frame in any order.
#[test]
fn the_index_of_pandas_is_left_out_with_a_note() {
    for (name, content) in [
        ("x.csv", ",a,b\n0,x,1\n2,y,\n"),
        ("x.tsv", "\"\"\ta\tb\n7\tx\t1\n0\ty\t\n"),
        ("x.csv", " ,a,b\r\n0,x,1\r\n1,y,\r\n"),
    ] {
        let (_dir, path) = file(name, content);
        let (rows, whole) = read(&path).unwrap();
        let rows: Vec<String> = rows.iter().map(|(_, row)| format!("{row:?}")).collect();
        let cells =
            |a: &str, b: &str| format!(r#"Object {{"a": String("{a}"), "b": String("{b}")}}"#);
        assert_eq!(rows, [cells("x", "1"), cells("y", "")], "{content:?}");
        let [note] = &whole.notes[..] else {
            panic!("{:?}", whole.notes);
        };
        assert!(note.contains("left out as the index of pandas"), "{note}");
        assert!(note.ends_with("; rows: 2"), "{note}");
    }
    for cell in ["z", "", "-1", "1.5"] {
        let expected = format!(
            "row 2: has {cell:?} in a column without a name; name the column in the header, or \
             leave it out"
        );
        assert_eq!(error("x.csv", format!(",a\n0,x\n{cell},y\n")), expected);
    }
    let (_dir, path) = file("x.csv", ",prompt\n0,Say hi.\n1,Say ho.\n");
    let read = data::prompts(&path, data::Format::Auto).unwrap();
    assert_eq!(read.items.len(), 2);
    let found = &read.counts.notes;
    assert!(
        found.len() == 1 && found[0].contains("index of pandas"),
        "{found:?}"
    );
}
