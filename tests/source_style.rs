//! Limits on the sources: lines of a file, lines of a function, columns of a comment.

use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 80;
const MAX_COMMENT_COLUMNS: usize = 100;

/// A file that must be longer, or hold a longer function, says why in a comment at its head that
/// contains this.
const REASON: &str = "Long because";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The sources below `dir` (a path in the repository) whose names end in one of `endings`.
fn sources(dir: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut below = vec![dir.to_string()];
    while let Some(dir) = below.pop() {
        for entry in std::fs::read_dir(root().join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{dir}/{name}");
            if entry.file_type().unwrap().is_dir() {
                if !["target", "golden", "fixtures", "corpus"].contains(&name.as_str()) {
                    below.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Whether a line begins a function, after rustfmt.
fn begins_function(line: &str) -> bool {
    let mut words = line.trim_start();
    let qualifiers = [
        "pub ",
        "default ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ];
    loop {
        if words.starts_with("fn ") {
            return true;
        }
        let rest = qualifiers.iter().find_map(|word| words.strip_prefix(word));
        let visible = || {
            words
                .strip_prefix("pub(")?
                .split_once(") ")
                .map(|(_, rest)| rest)
        };
        match rest.or_else(visible) {
            Some(rest) => words = rest,
            None => return false,
        }
    }
}

/// First line (from 1) and number of lines of each function. rustfmt puts a function's last brace
/// into the column in which the function begins.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, l)| begins_function(l)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let signature_end = |l: &&str| l.ends_with(';') && !l.starts_with(&format!("{indent} "));
        let n = lines[at..]
            .iter()
            .position(|l| **l == *end || signature_end(l) || (**l == **line && l.ends_with('}')));
        found.push((at + 1, n.map_or(1, |n| n + 1)));
    }
    found
}

#[test]
fn functions_are_found_with_their_lengths() {
    let text = "pub fn one() {}\nimpl X {\n    pub(crate) unsafe fn two(\n        a: u8,\n    ) {\n        \
                if a > 0 {\n        }\n    }\n    fn three(&self);\n}\nconst fn four() -> u8 {\n    1\n}\n";
    assert_eq!(functions(text), [(1, 1), (3, 6), (9, 1), (11, 3)]);
    let fns = [
        "fn a",
        "pub async fn a",
        "pub(super) const fn a",
        "extern \"C\" fn a",
    ];
    assert!(fns.iter().all(|line| begins_function(line)));
    assert!(!begins_function("let fn_name = 1;") && !begins_function("// fn a"));
}

#[test]
fn files_and_functions_are_short_or_say_why_not() {
    let mut messages = Vec::new();
    let mut files = sources("crates", &[".rs"]);
    files.extend(sources("tests", &[".rs"]));
    assert!(files.len() > 200, "only {} files found", files.len());
    for path in files {
        let text = text_of(&path);
        let head = text.lines().take(40).filter(|line| line.starts_with("//"));
        if head.into_iter().any(|line| line.contains(REASON)) {
            continue;
        }
        let n_lines = text.lines().count();
        if n_lines > MAX_FILE_LINES {
            messages.push(format!(
                "{path}: {n_lines} lines, more than {MAX_FILE_LINES}"
            ));
        }
        for (line, n) in functions(&text)
            .into_iter()
            .filter(|f| f.1 > MAX_FUNCTION_LINES)
        {
            messages.push(format!("{path}:{line}: a function of {n} lines"));
        }
    }
    assert!(messages.is_empty(), "{messages:#?}");
}

/// Whether a line holds a comment, alone or after code without a string literal, or the help of a
/// make target. Rows of tables do not count.
fn has_comment(path: &str, line: &str) -> bool {
    let is_rust = [".rs", ".cu", ".cuh"].iter().any(|e| path.ends_with(e));
    let mark = if is_rust { "//" } else { "#" };
    let line = line.trim_start();
    let is_table = line.trim_start_matches(['/', '!', '#']).starts_with(" |");
    let is_alone = line.starts_with(mark) && !is_table;
    let is_after_code = line.contains(&format!(" {mark} ")) && !line.contains(['"', '\'']);
    is_alone || is_after_code || (path == "Makefile" && line.contains(" ## "))
}

#[test]
fn comments_are_at_most_100_columns_wide() {
    let rust_and_settings = [".rs", ".toml", ".cu", ".cuh"];
    let mut messages = Vec::new();
    let mut files = vec![
        "Cargo.toml".to_string(),
        "Makefile".into(),
        ".ci/run".into(),
    ];
    for dir in ["crates", "tests", "configs", "fuzz"] {
        files.extend(sources(dir, &rust_and_settings));
    }
    files.extend(sources("scripts", &[".sh", ".py"]));
    for path in files {
        for (at, line) in text_of(&path).lines().enumerate() {
            let n_columns = line.chars().count();
            let is_link = line.contains("http://") || line.contains("https://");
            if n_columns > MAX_COMMENT_COLUMNS && has_comment(&path, line) && !is_link {
                messages.push(format!("{path}:{}: {n_columns} columns", at + 1));
            }
        }
    }
    assert!(messages.is_empty(), "{messages:#?}");
}

/// `module::test` names in docs/trust.md are tests of that file or directory.
#[test]
fn tests_named_in_the_trust_page_exist() {
    let files = sources("tests", &[".rs"]);
    let has_test = |name: &str| {
        let (module, function) = name.rsplit_once("::").unwrap();
        let module = module.rsplit("::").next().unwrap();
        let is_in = |path: &&String| path.split(['/', '.']).any(|part| part == module);
        let test = format!("#[test]\nfn {function}()");
        files
            .iter()
            .filter(is_in)
            .any(|path| text_of(path).contains(&test))
    };
    let page = text_of("docs/trust.md");
    let is_name = |text: &&str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
        text.contains("::") && *text != "area::name" && text.chars().all(is_plain)
    };
    let names: Vec<_> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() > 50, "only {} tests are named", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !has_test(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

/// `println!` and `eprintln!` panic where the stream is closed or full, which would end a run. Text
/// for people goes through `run::say` and `run::print`.
#[test]
fn only_one_place_prints() {
    let mut found = Vec::new();
    for path in sources("crates", &[".rs"]) {
        let is_program = !path.contains("/src/") || path.contains("/src/bin/");
        if is_program {
            continue; // build scripts, benchmarks, examples
        }
        for (at, line) in text_of(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let prints = ["println!(", "print!(", "dbg!("];
            if prints.iter().any(|name| code.contains(name)) {
                found.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
