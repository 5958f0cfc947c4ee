//! Lists and files without end, and files that end too early.

use super::{FakeHub, says, weights};
use models::{Fetch, Hub};
use std::collections::HashMap;
use std::fs;
use testkit::golden;
use tiny_http::{Header, Response, Server};

#[test]
fn a_list_of_files_that_unpacks_to_much_is_refused() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = gzip.finish().unwrap();
    let server = Server::http("127.0.0.1:0").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        endpoint: format!("http://{}", server.server_addr()),
        token: None,
        cache_dir: cache.path().to_path_buf(),
        offline: false,
    };
    let thread = std::thread::spawn(move || {
        let encoding = Header::from_bytes("Content-Encoding", "gzip").unwrap();
        let reply = Response::from_data(packed).with_header(encoding);
        let _ = server.recv().unwrap().respond(reply);
    });
    says(
        hub.fetch("org/bomb", Fetch::Whole),
        &["org/bomb", "its list of files has more than 16 MiB"],
    );
    thread.join().unwrap();
}

#[test]
fn a_file_has_the_length_that_the_hub_declares() {
    let tied = golden("tiny-llama/tied");
    let fake = FakeHub::new(&[("org/m", &tied)], None);
    let declare = |name: &str, length: usize| {
        *fake.declared.lock().unwrap() = HashMap::from([(name.to_string(), length)]);
    };
    let cache = tempfile::tempdir().unwrap();
    let hub = fake.hub(cache.path());
    let blobs = cache.path().join("models--org--m/blobs");
    let names = |ending: &str| {
        let entries = fs::read_dir(&blobs).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    };
    let weights_file = "model.safetensors";
    let n = fs::metadata(tied.join(weights_file)).unwrap().len() as usize;

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
        says(hub.fetch("org/m", Fetch::Whole), &parts);
    }
    // a body that does not end where it should
    declare(weights_file, n - 10);
    let more = format!("the hub sends more than the {} bytes", n - 10);
    says(hub.fetch("org/m", Fetch::Whole), &[weights_file, &more]);
    assert_eq!(names(".part"), Vec::<String>::new());
    // a body that ends too early is continued, and has no other name until then
    declare(weights_file, n + 10);
    let fewer = format!("the hub sent {n} of {} bytes; run again", n + 10);
    says(hub.fetch("org/m", Fetch::Whole), &[weights_file, &fewer]);
    assert_eq!(names(".part"), ["model.safetensors-c0ffee.part"]);
    assert_eq!(
        names("c0ffee")
            .iter()
            .filter(|name| name.contains("safetensors"))
            .count(),
        0
    );
    declare(weights_file, n);
    let dir = hub.fetch("org/m", Fetch::Whole).unwrap();
    assert_eq!(
        fs::read(dir.join(weights_file)).unwrap(),
        fs::read(tied.join(weights_file)).unwrap()
    );
    assert_eq!(names(".part"), Vec::<String>::new());
    assert_eq!(weights(&dir).len(), weights(&tied).len());
}
