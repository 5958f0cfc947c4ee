//! Lists and files without end, and files that end too early.

use super::{says, serving, settings, weights};
use models::{Fetch, fetch_model};
use sha2::{Digest, Sha256};
use std::fs;
use testkit::{Fault, Reply, golden};

#[test]
fn a_list_of_files_that_unpacks_to_much_is_refused() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = gzip.finish().unwrap();
    let mock = serving(&[]);
    let bomb = Reply::new(200, packed).with("content-encoding", "gzip");
    mock.fail("/api/models/org/bomb", 1, Fault::Answer(bomb));
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    says(
        fetch_model(&hub, "org/bomb", Fetch::Whole),
        &["org/bomb", "its list of files has more than 16 MiB"],
    );
}

#[test]
fn a_file_has_the_length_that_the_hub_declares() {
    let tied = golden("tiny-llama/tied");
    let mock = serving(&[("org/m", &tied)]);
    let declare = |name: &str, length: usize| {
        mock.declare_truth();
        mock.declare(name, length);
    };
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    let blobs = cache.path().join("models--org--m/blobs");
    let names = |ending: &str| {
        let entries = fs::read_dir(&blobs).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    };
    let weights_file = "model.safetensors";
    let bytes = fs::read(tied.join(weights_file)).unwrap();
    let n = bytes.len();
    let tag: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();

    // settings without end, and weights that no disk holds, are not begun
    for (name, length, parts) in [
        (
            "config.json",
            1 << 40,
            ["config.json", "has at most 128 MiB"],
        ),
        (
            "chat_template.jinja",
            1 << 40,
            ["chat_template.jinja", "has at most 128 MiB"],
        ),
        (
            "tokenizer.json",
            1 << 40,
            ["tokenizer.json", "has at most 128 MiB"],
        ),
        (
            weights_file,
            1 << 60,
            ["model.safetensors: needs 1152921504607 MB", "are free"],
        ),
    ] {
        declare(name, length);
        says(fetch_model(&hub, "org/m", Fetch::Whole), &parts);
    }
    // a body that does not end where it should
    declare(weights_file, n - 10);
    let more = format!("the hub sends more than the {} bytes", n - 10);
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &[weights_file, &more],
    );
    assert_eq!(names(".part"), Vec::<String>::new());
    // a body that ends too early is continued, and has no other name until then
    declare(weights_file, n + 10);
    let fewer = format!("the hub sent {n} of {} bytes; run again", n + 10);
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &[weights_file, &fewer],
    );
    assert_eq!(names(".part"), [format!("{tag}.part")]);
    assert_eq!(names(&tag), Vec::<String>::new());
    declare(weights_file, n);
    let dir = fetch_model(&hub, "org/m", Fetch::Whole).unwrap();
    assert_eq!(
        fs::read(dir.join(weights_file)).unwrap(),
        fs::read(tied.join(weights_file)).unwrap()
    );
    assert_eq!(names(".part"), Vec::<String>::new());
    assert_eq!(weights(&dir).len(), weights(&tied).len());
}

#[test]
fn a_file_of_a_model_has_the_hash_that_the_hub_gives() {
    let tied = golden("tiny-llama/tied");
    let mock = serving(&[("org/m", &tied)]);
    mock.set_commit("org/m", "c0ffee");
    let cache = tempfile::tempdir().unwrap();
    let hub = settings(&mock.endpoint(), cache.path());
    let list = |commit: &str| {
        let files = fs::read_dir(&tied).unwrap().map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            match name.as_str() {
                "model.safetensors" => serde_json::json!({
                    "rfilename": name, "blobId": "", "lfs": {"sha256": "b".repeat(64)},
                }),
                _ => serde_json::json!({"rfilename": name}),
            }
        });
        let files: Vec<_> = files.collect();
        Reply::json(serde_json::json!({"sha": commit, "siblings": files}))
    };
    mock.fail("/api/models/", 1, Fault::Answer(list("c0ffee")));
    let wanted = format!("the hub's list of files says {}", "b".repeat(64));
    says(
        fetch_model(&hub, "org/m", Fetch::Whole),
        &["model.safetensors: its SHA-256 is ", &wanted],
    );
    // the list of another commit says nothing
    mock.fail("/api/models/", 1, Fault::Answer(list("facade")));
    fetch_model(&hub, "org/m", Fetch::Whole).unwrap();
}
