//! The crate `row-files`: the same rows from every container, and what is said of files that are
//! damaged, compressed without bounds, or of a kind that is not read.

use super::file;
use flate2::Compression;
use flate2::write::GzEncoder;
use row_files::{Error, Object, Whole};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// The rows with their numbers, and the file.
pub(super) fn read(path: &Path) -> Result<(Vec<(usize, Value)>, Whole), Error> {
    let mut rows = Vec::new();
    let whole = row_files::for_each_row(path, &[], &mut |number, row: &Object| {
        rows.push((number, Value::Object(row.clone())));
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    Ok((rows, whole))
}

/// What is wrong with a file, after its path.
#[track_caller]
pub(super) fn error(name: &str, content: impl AsRef<[u8]>) -> String {
    let (_dir, path) = file(name, content);
    let text = read(&path).expect_err(name).to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    let start = format!("{}: ", path.display());
    text.strip_prefix(&start).expect(&text).to_string()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn rows_may_follow_many_blank_lines() {
    let blank = "\n".repeat(70_000);
    let (_dir, path) = file("x.jsonl", format!("{blank}{{\"a\": 1}}\n"));
    assert_eq!(read(&path).unwrap().0, [(70_001, json!({"a": 1}))]);
    assert!(error("x.jsonl", &blank).starts_with("is empty; "));
}

#[test]
fn what_is_no_json_is_named() {
    let utf_32 = "[{}]".chars().flat_map(|c| u32::from(c).to_le_bytes());
    let utf_32: Vec<u8> = [0xff, 0xfe, 0, 0].into_iter().chain(utf_32).collect();
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(127), "]".repeat(127));
    for (content, expected) in [
        (&utf_32[..], "is UTF-32 text; convert the file to UTF-8"),
        (
            b"null",
            "is one value of JSON, not rows; expected a JSON array",
        ),
        (
            b" \"a\"",
            "is one value of JSON, not rows; expected a JSON array",
        ),
        (b" a\nb", "is not JSON; expected a JSON array of objects"),
        (
            b"{\"a\": NaN}",
            "row 1: has NaN at column 7, which is no JSON; write null, or remove the row",
        ),
        (
            b"{\"a\": -Infinity}",
            "row 1: has Infinity at column 8, which is no JSON",
        ),
        (
            b"{\"a\": 1e400}",
            "row 1: has a number out of range at column ",
        ),
        (
            deep.as_bytes(),
            "row 1: has more than 127 lists and objects in each other at column ",
        ),
    ] {
        let found = error("x.jsonl", content);
        assert!(found.starts_with(expected), "{found}");
    }
}

const LINES: &str = "{\"a\": 1}\n\n{\"a\": \"ß\"}\n";

#[test]
fn rows_are_the_same_in_every_container() {
    #[track_caller]
    fn check(name: &str, content: impl AsRef<[u8]>, numbers: [usize; 2], rows: [Value; 2]) {
        let content = content.as_ref();
        let two = content.len() / 2;
        let members = |pack: fn(&[u8]) -> Vec<u8>| {
            [pack(&content[..two]), pack(b""), pack(&content[two..])].concat()
        };
        let padded = [gzip(content), vec![0; 700]].concat();
        for (ending, content) in [
            ("", content.to_vec()),
            (".gz", gzip(content)),
            (".GZ", members(gzip)),
            (".gz", padded),
            (".zst", zstd(content)),
            (".zst", members(zstd)),
        ] {
            let (_dir, path) = file(&format!("{name}{ending}"), &content);
            let (found, whole) = read(&path).unwrap();
            let expected: Vec<_> = numbers.into_iter().zip(rows.clone()).collect();
            assert_eq!(found, expected, "{name}{ending}");
            let sha256: String = Sha256::digest(&content)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let expected = Whole {
                sha256: Some(sha256),
                n_too_big: 0,
                n_bytes: content.len() as u64,
                notes: Vec::new(),
            };
            assert_eq!(whole, expected, "{name}{ending}");
        }
    }
    let rows = [json!({"a": 1}), json!({"a": "ß"})];
    check("x.jsonl", LINES, [1, 3], rows.clone());
    check("x", LINES, [1, 3], rows.clone());
    check("x.csv", LINES, [1, 3], rows.clone());
    check("x.json", r#"[{"a": 1}, {"a": "ß"}]"#, [1, 2], rows);
    let lines = [json!({"text": "{one}"}), json!({"text": "a,b"})];
    check("x.txt", "{one}\r\n\na,b", [1, 3], lines);
    let cells = [
        json!({"a": "1", "b": "x\r\n\"y\","}),
        json!({"a": "", "b": " "}),
    ];
    let csv = "\u{feff}a,b\r\n1,\"x\r\n\"\"y\"\",\"\r\n\r\n, \r\n";
    check("x.CSV", csv, [1, 2], cells.clone());
    check("x.csv", csv.trim_end_matches("\r\n"), [1, 2], cells.clone());
    let tsv = "a\tb\n1\t\"x\r\n\"\"y\"\",\"\n\t \n";
    check("x.tsv", tsv, [1, 2], cells);
}

/// What a file is its content says.
#[test]
fn a_wrong_ending_of_a_compressed_file_does_not_matter() {
    for (name, content) in [
        ("x.jsonl", gzip(LINES.as_bytes())),
        ("x.zst", gzip(LINES.as_bytes())),
        ("x.gz", LINES.as_bytes().to_vec()),
        ("x.json", zstd(LINES.as_bytes())),
    ] {
        let (_dir, path) = file(name, content);
        assert_eq!(read(&path).unwrap().0.len(), 2, "{name}");
    }
}

#[test]
fn the_caller_may_stop_or_fail_with_its_own_error() {
    #[derive(Debug, PartialEq)]
    enum Own {
        Rows(String),
        Mine(usize),
    }
    impl From<Error> for Own {
        fn from(error: Error) -> Self {
            Self::Rows(error.to_string())
        }
    }
    for name in ["x.jsonl", "x.json"] {
        let content = match name {
            "x.json" => "[{}, {}, nope",
            _ => "{}\n{}\nnope",
        };
        let (_dir, path) = file(name, content);
        let mut seen = Vec::new();
        let whole = row_files::for_each_row(&path, &[], &mut |number, _| {
            seen.push(number);
            Ok::<_, Own>(match number {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        });
        let whole = whole.unwrap();
        assert_eq!((seen, whole.sha256), (vec![1, 2], None));
        let mine = row_files::for_each_row(&path, &[], &mut |number, _| match number {
            2 => Err(Own::Mine(number)),
            _ => Ok(ControlFlow::Continue(())),
        });
        assert_eq!(mine, Err(Own::Mine(2)));
        let all = row_files::for_each_row(&path, &[], &mut |_, _| Ok(ControlFlow::Continue(())));
        let Err(Own::Rows(text)) = all else {
            panic!("{all:?}")
        };
        assert!(text.contains(": row 3: is not JSON: "), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_are_read_but_for_parquet() {
    for (name, content, expected) in [
        ("x.jsonl", LINES.as_bytes().to_vec(), Ok(2)),
        ("x.csv", b"a\n1\n2\n3\n".to_vec(), Ok(3)),
        ("x.zst", zstd(LINES.as_bytes()), Ok(2)),
        ("x.gz", gzip(LINES.as_bytes()), Ok(2)),
        (
            "x.parquet",
            b"PAR1\x15\x04".to_vec(),
            Err("is parquet in a pipe, but parquet is read from its end; write it into a file"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                // a byte at a time, so that no read sees a whole signature
                for byte in content {
                    if pipe.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            })
        };
        let found = read(&path).map(|(rows, _)| rows.len());
        writer.join().unwrap();
        let found = found.map_err(|e| e.to_string());
        let expected = expected.map_err(|e: &str| format!("{}: {e}", path.display()));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn damaged_compressed_files_are_refused() {
    #[track_caller]
    fn check(content: &[u8], expected: &str) {
        let found = error("x.jsonl", content);
        assert!(found.ends_with(expected), "{found}");
        assert!(found.contains("cannot be read: "), "{found}");
    }
    let lines = LINES.repeat(500);
    for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
        let whole = pack(lines.as_bytes());
        for n in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 12] {
            let early = format!("the {name} data ends early; the file is truncated");
            check(&whole[..n], &early);
        }
        for junk in ["{\"a\": 1}\n", "PK\x03\x04", "\0\0x"] {
            let after = format!("what follows the {name} data is no {name}; the file is damaged");
            check(&[&whole[..], junk.as_bytes()].concat(), &after);
        }
    }
    let mut flipped = gzip(lines.as_bytes());
    let n = flipped.len();
    flipped[n - 6] ^= 1; // of the checksum
    let found = error("x.jsonl", &flipped);
    assert!(found.contains("the gzip data is damaged: "), "{found}");
    let twice = gzip(&gzip(lines.as_bytes()));
    assert_eq!(
        error("x.gz", twice),
        "is compressed twice; decompress it once"
    );
    assert_eq!(
        error("x.jsonl.gz", gzip(b"")),
        "is empty; expected a JSON array of objects, or one JSON object per line"
    );
}

#[test]
fn what_expands_without_bounds_is_refused() {
    // 80 MiB of one space each, and of one line
    let spaces = vec![b' '; 80 << 20];
    let bomb = "it decompresses to more than 300 times its size; if that is meant, decompress the \
                file first";
    for (name, content) in [
        ("x.jsonl", gzip(&[b"{\"a\": \"", &spaces[..]].concat())),
        ("x.json", gzip(&[b"[{\"a\": 1},", &spaces[..]].concat())),
        ("x.txt", zstd(&spaces)),
        (
            "x.jsonl",
            zstd(&[b"{}\n", &b"\n".repeat(80 << 20)[..]].concat()),
        ),
    ] {
        let found = error(name, content);
        assert!(
            found.contains(bomb) || found.ends_with("is longer than 64 MiB"),
            "{name}: {found}"
        );
    }
}

#[test]
fn an_element_of_an_array_without_an_end_is_refused() {
    let mut content = b"[{\"a\": 1}, {\"a\": \"".to_vec();
    content.resize(70 << 20, b'x');
    assert_eq!(error("x.json", content), "row 2: is longer than 64 MiB");
    let line = format!("{{\"a\": \"{}\"}}\n", "x".repeat(16 << 20));
    let (_dir, path) = file("x.jsonl", format!("{{\"a\": 1}}\n{line}{{\"a\": 2}}\n"));
    let (rows, whole) = read(&path).unwrap();
    assert_eq!((rows.len(), rows[1].0, whole.n_too_big), (2, 3, 1));
}

#[test]
fn files_of_other_kinds_are_named() {
    #[track_caller]
    fn check(content: impl AsRef<[u8]>, what: &str, remedy: &str) {
        let content = content.as_ref();
        for (name, content) in [
            ("x.jsonl", content.to_vec()),
            ("x.json.gz", gzip(content)),
            ("x.csv", content.to_vec()),
        ] {
            let found = error(name, content);
            let start = format!("is {what}, which is not read; ");
            assert!(
                found.starts_with(&start) && found.contains(remedy),
                "{found}"
            );
        }
    }
    check(b"PK\x03\x04\x14\0", "a zip archive", "unpack it");
    let sheet = b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml";
    check(sheet, "an Excel or Word document", "save the sheet as CSV");
    let mut tar = b"train.jsonl".to_vec();
    tar.resize(257, 0);
    tar.extend(b"ustar\x0000");
    tar.resize(1024, b'{');
    check(tar, "a tar archive", "unpack it");
    check(b"BZh91AY&SY\0", "bzip2 data", "bunzip2");
    check(b"\xfd7zXZ\0\0", "xz data", "unxz");
    check(b"7z\xbc\xaf\x27\x1c\0", "a 7z archive", "unpack it");
    check(b"ARROW1\0\0", "an Arrow (Feather) file", "pq.write_table");
    check(b"\xff\xff\xff\xff\x10\0", "an Arrow stream", "to_json");
    check(b"\x80\x04\x95", "a Python pickle", "to_parquet");
    check(b"SQLite format 3\0", "an SQLite database", "sqlite3 -csv");
    check(b"PARE\0\0", "an encrypted parquet file", "decrypt it");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    check(
        pointer,
        "a Git LFS pointer and not the file",
        "git lfs pull",
    );
    let page = error("x.jsonl", "\n<!DOCTYPE HTML><html>");
    assert_eq!(
        page,
        "is a web page, which is not read; download the file itself"
    );
}
