//! The modules of a crate do not import each other in a ring.
//!
//! A module is a file; inline modules belong to their file. A file imports another if its code
//! names an item that the other defines, in a `use` or in a path. Re-exports are followed to the
//! file that defines the item: `crate::Experience` is an import of `experience`, not of the crate's
//! root.
//!
//! Not counted are `mod child;`, test code, and a re-export (`pub use`, `pub(crate) use`) that the
//! file's own code does not use. So the `mod.rs` of a folder may list and re-export its files while
//! they use the types that it defines. It is a ring when its own code uses their items too.
//!
//! Method calls and field accesses are not paths, so the test does not see them.

#[path = "import_cycles/modules.rs"]
mod modules;

use modules::{Binding, Crate, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Imports of a crate: file → file → a path that names an item of it.
type Imports = BTreeMap<usize, BTreeMap<usize, String>>;

fn imports(of: &Crate) -> Imports {
    let mut all = Imports::new();
    for (at, module) in of.modules.iter().enumerate() {
        let uses = module
            .bindings
            .values()
            .filter_map(|binding| match binding {
                Binding::Use {
                    path,
                    public: false,
                } => Some(path),
                _ => None,
            });
        let targets = all.entry(at).or_default();
        let mut add = |target: usize, path: &[String]| {
            if target != at {
                targets.entry(target).or_insert_with(|| path.join("::"));
            }
        };
        for path in uses.chain(&module.used) {
            // a module alone is imported by the longer paths that begin with it
            if let Some(Target::ItemOf(target)) = of.resolve(at, path) {
                add(target, path);
            }
        }
        for path in &module.globs {
            if let Some(Target::Module(target)) = of.resolve(at, path) {
                add(target, &[path.as_slice(), &["*".to_string()]].concat());
            }
        }
    }
    all
}

/// Sets of files each of which reaches the others.
fn rings(imports: &Imports) -> Vec<BTreeSet<usize>> {
    let reached = |from: usize| -> BTreeSet<usize> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            for target in imports.get(&at).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(*target) {
                    next.push(*target);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<usize, BTreeSet<usize>> =
        imports.keys().map(|at| (*at, reached(*at))).collect();
    let mut rings: Vec<BTreeSet<usize>> = Vec::new();
    for (at, targets) in &reach {
        if targets.contains(at) && !rings.iter().any(|ring| ring.contains(at)) {
            let mutual = targets.iter().filter(|target| reach[target].contains(at));
            rings.push(mutual.copied().collect());
        }
    }
    rings
}

/// One line per import inside the ring.
fn describe(of: &Crate, imports: &Imports, ring: &BTreeSet<usize>) -> String {
    let mut lines = Vec::new();
    for at in ring {
        for (target, path) in imports[at]
            .iter()
            .filter(|(target, _)| ring.contains(target))
        {
            let (from, to) = (&of.modules[*at].name, &of.modules[*target].name);
            lines.push(format!("    {from} -> {to} ({path})"));
        }
    }
    lines.join("\n")
}

#[test]
fn no_modules_import_each_other_in_a_ring() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut found = String::new();
    let mut n_modules = 0;
    for entry in std::fs::read_dir(crates).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_string();
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| dir.join(root));
        for root in roots.iter().filter(|root| root.exists()) {
            let of = Crate::read(root);
            n_modules += of.modules.len();
            let imports = imports(&of);
            for ring in rings(&imports) {
                let lines = describe(&of, &imports, &ring);
                found += &format!("\n{name}: a ring of {} files\n{lines}\n", ring.len());
            }
        }
    }
    assert!(n_modules > 150, "only {n_modules} modules found");
    assert!(found.is_empty(), "{found}");
}

/// The rings of a crate made of these files, as lists of names.
fn rings_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let of = Crate::of_sources(dir.path(), files);
    let names =
        |ring: BTreeSet<usize>| ring.iter().map(|at| of.modules[*at].name.clone()).collect();
    rings(&imports(&of)).into_iter().map(names).collect()
}

#[test]
fn the_finder_finds_rings_through_uses_paths_and_re_exports() {
    let check =
        |a: &str, b: &str, root: &str| rings_of(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]);
    let ring = vec![vec!["a".to_string(), "b".to_string()]];
    let plain = "mod a; mod b;";
    let b = "pub struct B; fn f(_: super::a::A) {}";
    assert_eq!(check("pub struct A; use crate::b::B;", b, plain), ring);
    assert_eq!(
        check("pub struct A; use crate::{b::{self, B as C}};", b, plain),
        ring
    );
    assert_eq!(
        check("pub struct A; fn f() { g::<crate::b::B>() }", b, plain),
        ring
    );
    assert_eq!(
        check("pub struct A; fn f() { vec![crate::b::B]; }", b, plain),
        ring
    );
    assert_eq!(
        check("pub struct A; use crate::b; fn f(_: b::B) {}", b, plain),
        ring
    );
    let re_exported = "mod a; mod b; pub use b::B;";
    assert_eq!(check("pub struct A; use crate::B;", b, re_exported), ring);
    assert_eq!(
        check("pub struct A; mod x { use super::super::b::B; }", b, plain),
        ring
    );
    // one way only
    let none: Vec<Vec<String>> = Vec::new();
    assert_eq!(check("pub struct A;", b, re_exported), none);
    assert_eq!(
        check(
            "pub struct A; #[cfg(test)] mod t { use crate::b::B; }",
            b,
            plain
        ),
        none
    );
}

#[test]
fn a_folder_may_re_export_files_that_use_its_types() {
    let check = |folder: &str| {
        rings_of(&[
            ("lib.rs", "mod folder;"),
            ("folder/mod.rs", folder),
            (
                "folder/part.rs",
                "use super::Whole; pub struct Part(Whole);",
            ),
        ])
    };
    let none: Vec<Vec<String>> = Vec::new();
    assert_eq!(
        check("mod part; pub use part::Part; pub struct Whole;"),
        none
    );
    let ring = vec![vec!["folder".to_string(), "folder::part".to_string()]];
    assert_eq!(
        check("mod part; pub use part::Part; pub struct Whole(Box<Part>);"),
        ring
    );
    assert_eq!(check("mod part; use part::Part; pub struct Whole;"), ring);
}
