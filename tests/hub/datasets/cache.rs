//! The cache: its layout, and when it needs no network.

use super::{CONVERTED, World, get, paths, says};
use std::fs;
use std::path::Path;

/// All files and links below a directory, sorted, without locks.
fn listing(dir: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "lock") {
                found.push(
                    path.strip_prefix(dir)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_string(),
                );
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_layout_is_that_of_huggingface_hub() {
    let world = World::with(&[("README.md", "# A"), ("data/train.jsonl", "rows")]);
    let found = world.get("hub:org/d").unwrap();
    let commit = &found.commit;
    assert_eq!(commit.len(), 40);
    let wanted = world
        .dir()
        .join("snapshots")
        .join(commit)
        .join("data/train.jsonl");
    assert_eq!(found.files.len(), 1);
    assert_eq!(found.files[0], wanted);
    // a relative link to the blob, which has the name of its tag
    let target = fs::read_link(&wanted).unwrap();
    let tag = target
        .strip_prefix("../../../blobs")
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(
        fs::read_to_string(world.dir().join("blobs").join(tag)).unwrap(),
        "rows"
    );
    let readme = fs::read_link(world.dir().join(format!("snapshots/{commit}/README.md"))).unwrap();
    let readme = readme
        .strip_prefix("../../blobs")
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(
        fs::read_to_string(world.dir().join("refs/main")).unwrap(),
        *commit
    );
    let mut all = vec![
        format!(".no_exist/{commit}/{CONVERTED}"),
        format!("blobs/{readme}"),
        format!("blobs/{tag}"),
        "refs/main".to_string(),
        format!("snapshots/{commit}/README.md"),
        format!("snapshots/{commit}/data/train.jsonl"),
        format!("trees/{commit}.json"),
    ];
    all.sort();
    assert_eq!(listing(&world.dir()), all);
    let tree = fs::read(world.dir().join(format!("trees/{commit}.json"))).unwrap();
    let tree: serde_json::Value = serde_json::from_slice(&tree).unwrap();
    assert_eq!(tree["format_version"], 1);
    let info = serde_json::json!({"size": 4, "blob_id": tag});
    assert_eq!(tree["files"]["data/train.jsonl"], info);
    // the parquet branch has a ref of its own, and large files the tags of their sums
    world.put(CONVERTED, &[("default/train/0000.parquet", "p")]);
    let other = World {
        cache: tempfile::tempdir().unwrap(),
        ..world
    };
    let found = other.get("hub:org/d").unwrap();
    let text = fs::read_to_string(other.dir().join("refs").join(CONVERTED)).unwrap();
    assert_eq!(text, found.commit);
    let sum = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
    let target = fs::read_link(&found.files[0]).unwrap();
    assert_eq!(target.file_name().unwrap().to_str(), Some(sum));
}

#[test]
fn a_complete_cache_asks_nothing() {
    let world = World::with(&[
        ("README.md", "# A"),
        ("train.jsonl", ""),
        ("test.jsonl", ""),
    ]);
    world.put("v1", &[("train.jsonl", "old")]);
    world.mock.set_page_len(1);
    let commit = world.get("hub:org/d@v1").unwrap().commit;
    for spec in [
        "hub:org/d".to_string(),
        "hub:org/d/train.jsonl".into(),
        "hub:org/d@v1".into(),
        format!("hub:org/d@{commit}"),
        "hub:org/d@main:test".into(),
    ] {
        let found = world.get(&spec).unwrap();
        world.mock.take_asked();
        assert_eq!(world.get(&spec).unwrap(), found);
        assert_eq!(get(&spec, &world.offline()).unwrap(), found);
        assert_eq!(world.mock.take_asked().len(), 0, "{spec}");
    }
    // what is missing is fetched, and nothing else
    let found = world.get("hub:org/d").unwrap();
    fs::remove_file(&found.files[0]).unwrap();
    fs::remove_file(found.files[0].with_file_name("test.jsonl")).unwrap();
    world.mock.take_asked();
    assert_eq!(world.get("hub:org/d").unwrap(), found);
    let asked = world.mock.take_asked();
    let heads: Vec<_> = asked
        .iter()
        .filter(|asked| asked.method == "HEAD")
        .collect();
    assert_eq!(heads.len(), 1, "{asked:?}");
    assert!(
        !asked.iter().any(|asked| asked.target.contains("/tree/")),
        "{asked:?}"
    );
    says(
        get("hub:org/d:test", &world.offline()),
        &[
            "1 of 1 files are not in the cache",
            "first: test.jsonl",
            "HF_HUB_OFFLINE is set",
        ],
    );
    says(
        get("hub:org/e", &world.offline()),
        &["hub:org/e: the data set is not in the cache"],
    );
    says(
        get("hub:org/d@v2", &world.offline()),
        &["the data set at revision v2 is not in the cache"],
    );
}

/// As huggingface_hub leaves it without a list of the commit's files.
#[test]
fn files_that_another_program_cached_are_used() {
    let world = World::with(&[("train.jsonl", ""), ("test.jsonl", "")]);
    let found = world.get("hub:org/d").unwrap();
    fs::remove_dir_all(world.dir().join("trees")).unwrap();
    fs::remove_dir_all(world.dir().join(".no_exist")).unwrap();
    world.mock.take_asked();
    let cached = get("hub:org/d", &world.offline()).unwrap();
    assert_eq!(cached.files, found.files);
    let note = "only the files in the cache are known: the data set may have more";
    assert_eq!(cached.notes.last().unwrap(), note);
    assert_eq!(world.mock.take_asked().len(), 0);
    // with a network the hub is asked what there is, and the file is not fetched again
    assert_eq!(world.get("hub:org/d").unwrap(), found);
    let asked = world.mock.take_asked();
    assert!(
        asked.iter().all(|asked| asked.target.starts_with("/api/")),
        "{asked:?}"
    );
}

#[test]
fn many_pages_are_one_list() {
    let names: Vec<String> = (0..25).map(|i| format!("part-{i:02}.jsonl")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let world = World::with(&files);
    world.mock.set_page_len(4);
    let found = world.get("hub:org/d").unwrap();
    assert_eq!(paths(&found), names);
    let asked = world.mock.take_asked();
    assert_eq!(
        asked
            .iter()
            .filter(|asked| asked.target.contains("/tree/"))
            .count(),
        7
    );
}
