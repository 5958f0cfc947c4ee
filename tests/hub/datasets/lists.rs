//! Lists of files that cannot be right, and files that are not what the list says.

use super::{World, paths, says};
use std::fs;
use testkit::{Fault, Reply};

/// What the list of files says of itself cannot be followed for ever, or meant twice.
#[test]
fn a_list_of_files_that_repeats_itself_is_refused() {
    let world = World::with(&[("train.jsonl", "")]);
    let file =
        |path: &str| serde_json::json!({"type": "file", "path": path, "oid": "0", "size": 1});
    let next = format!("<{}/tree/x?cursor=1>; rel=\"next\"", world.mock.endpoint());
    let page = Reply::json(serde_json::json!([file("train.jsonl")])).with("link", next);
    world.mock.fail("/tree/", 9, Fault::Answer(page));
    says(
        world.get("hub:org/d"),
        &["list of files", "page 2 of it links back to an earlier one"],
    );
    let asked = world.mock.take_asked();
    let pages = asked.iter().filter(|asked| asked.target.contains("/tree/"));
    assert_eq!(pages.count(), 2);
    let world = World::with(&[("train.jsonl", "")]);
    let twice = serde_json::json!([file("a.jsonl"), file("train.jsonl"), file("a.jsonl")]);
    world
        .mock
        .fail("/tree/", 1, Fault::Answer(Reply::json(twice)));
    says(
        world.get("hub:org/d"),
        &["list of files", "it names \"a.jsonl\" twice"],
    );
}

#[test]
fn a_file_has_the_hash_of_the_list() {
    // of "train.jsonl" and "train.parquet", by git and by sha256sum
    const GIT: &str = "30ac2ea896bf7ca4d96bd47c7ab45de627ef4071";
    const SHA256: &str = "706a02bc11cffc36ce46cc7c97153406a27c1af44188709985d4293d0d63bd93";
    let other = |n: usize| "a".repeat(n);
    for (path, oid, lfs, what) in [
        ("train.jsonl", other(40), None, Some("git hash")),
        ("train.parquet", other(40), Some(other(64)), Some("SHA-256")),
        ("train.jsonl", GIT.to_uppercase(), None, None),
        ("train.parquet", other(40), Some(SHA256.into()), None),
        // nothing is known
        ("train.jsonl", "0".into(), None, None),
        ("train.parquet", other(40), Some("0".into()), None),
    ] {
        let world = World::with(&[(path, "")]);
        let n = path.len();
        let mut file = serde_json::json!({"type": "file", "path": path, "oid": oid, "size": n});
        if let Some(lfs) = &lfs {
            file["lfs"] = serde_json::json!({"oid": lfs, "size": n});
        }
        let list = Reply::json(serde_json::json!([file]));
        world.mock.fail("/tree/", 1, Fault::Answer(list));
        let found = world.get("hub:org/d");
        let Some(what) = what else {
            assert_eq!(paths(&found.unwrap()), [path]);
            continue;
        };
        let wanted = lfs.as_ref().unwrap_or(&oid);
        let said = format!("{path}: its {what} is ");
        let list = format!(", and the hub's list of files says {wanted}; nothing was kept");
        says(found, &[&said, &list]);
        let blobs = fs::read_dir(world.dir().join("blobs")).unwrap();
        let names = blobs.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| name.ends_with(".lock")));
    }
}
