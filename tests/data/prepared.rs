//! Rows as token ids: in memory and on disk, and what a later run finds there.

use super::tokens::byte_encoder;
use data::{Demonstration, Encoder, Example, PreparedRows, Preparing, RowsConfig, TrainOn};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub type Rows = PreparedRows<Demonstration, 1>;

/// Rows of a file, and a cache.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let row = |i: usize| {
            let (words, answer) = ("word ".repeat(i % 7), "b".repeat(1 + i % 60));
            format!(
                "{{\"prompt\": \"Row {}. {words}\", \"completion\": \"{answer}\"}}\n",
                i / 2
            )
        };
        std::fs::write(
            dir.path().join("rows.jsonl"),
            (0..200).map(row).collect::<String>(),
        )
        .unwrap();
        let place = Self { dir };
        place.age(&place.data());
        place
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("rows.jsonl")
    }

    /// Makes a file older than the time that its next change could have.
    fn age(&self, file: &Path) {
        let file = std::fs::File::options().append(true).open(file).unwrap();
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        file.set_modified(time).unwrap();
    }

    pub fn config(&self, memory_mb: usize, more: &str) -> RowsConfig<10> {
        let text = format!(
            "path = {:?}\nmemory_mb = {memory_mb}\nmax_len = 70\n{more}",
            self.data()
        );
        toml::from_str(&text).unwrap()
    }

    pub fn preparing<'a>(&self, config: &'a RowsConfig<10>) -> Preparing<'a, Demonstration, 1, 10> {
        Preparing {
            config,
            seed: 3,
            encode,
            train_on: TrainOn::All,
            drops_tools: false,
            must_end: true,
            cache_dir: Some(self.dir.path().join("cache")),
            n_shown: 0,
            limits: config.limits(),
            keeps_prompts: false,
        }
    }

    pub fn prepare(&self, config: &RowsConfig<10>) -> data::Result<(bool, Rows)> {
        let preparing = self.preparing(config);
        let rows = preparing.rows(&byte_encoder().within(70), &mut ())?;
        Ok((rows.n_reads == 0, rows))
    }

    /// The only directory of tokens.
    fn tokens(&self) -> PathBuf {
        let dirs = std::fs::read_dir(self.dir.path().join("cache/data")).unwrap();
        let mut dirs = dirs
            .map(|dir| dir.unwrap().path())
            .filter(|dir| !dir.ends_with("files"));
        let dir = dirs.next().unwrap();
        assert_eq!(dirs.next(), None);
        dir
    }
}

fn encode(encoder: &Encoder, row: &Demonstration, _: TrainOn) -> data::Result<Vec<[Example; 1]>> {
    Ok(vec![[encoder.example(&row.prompt, &row.response)?]])
}

fn all(rows: &data::Examples<1>) -> Vec<Example> {
    let rows = (0..rows.len()).map(|row| {
        let [example] = rows.get(row).unwrap();
        let [shape] = rows.shape(row);
        assert_eq!(
            (shape.tokens(), shape.prompt_len as usize),
            (example.ids.len(), example.prompt_len)
        );
        example
    });
    rows.collect()
}

#[track_caller]
fn same(one: &Rows, other: &Rows) {
    assert_eq!(all(&one.train), all(&other.train));
    assert_eq!(all(&one.held_out), all(&other.held_out));
    assert_eq!((&one.shown, one.n_shared), (&other.shown, other.n_shared));
    assert_eq!(one.files, other.files);
    assert_eq!(one.train.mixture(), other.train.mixture());
}

#[test]
fn rows_on_disk_are_those_in_memory() {
    let place = Place::new();
    let eval = format!("eval_path = {:?}\nmax_eval_rows = 7", place.data());
    let sources = format!("sources = [{{ path = {:?}, weight = 0.5 }}]", place.data());
    for more in [
        "",
        "too_long = \"truncate_response\"",
        eval.as_str(),
        "only = \"Row 1\"",
        "max_rows = 33",
    ] {
        let (_, memory) = place.prepare(&place.config(256, more)).unwrap();
        assert!(!memory.held_out.is_empty(), "{more}");
        let (_, disk) = place.prepare(&place.config(0, more)).unwrap();
        same(&memory, &disk);
        let (known, again) = place.prepare(&place.config(0, more)).unwrap();
        assert!(known, "{more}: the files have not changed");
        same(&memory, &again);
    }
    let with_sources = |memory_mb: usize| {
        let config: RowsConfig<10> =
            toml::from_str(&format!("memory_mb = {memory_mb}\n{sources}")).unwrap();
        place.prepare(&config).unwrap().1
    };
    let (memory, disk) = (with_sources(256), with_sources(0));
    same(&memory, &disk);
    let mixture = disk.train.mixture();
    assert_eq!(mixture.n_visits(), mixture.n_rows() / 2);
}

/// What esrl-rlhf keeps: the prompts of rows, and of held-out rows nothing else.
#[test]
fn prompts_on_disk_are_those_in_memory() {
    let place = Place::new();
    let rows = |memory_mb: usize| {
        let config = place.config(memory_mb, "");
        let preparing = Preparing {
            keeps_prompts: true,
            ..place.preparing(&config)
        };
        let rows = preparing.rows(&byte_encoder().within(70), &mut ()).unwrap();
        assert!(rows.shown.is_empty());
        let keys: Vec<u64> = (0..rows.train.len())
            .map(|row| rows.train.key(row))
            .collect();
        let held_out = rows.held_out.into_rows().unwrap();
        (
            rows.n_reads,
            keys,
            rows.train.into_rows().unwrap(),
            held_out,
        )
    };
    let (memory, disk, found) = (rows(256), rows(0), rows(0));
    assert_eq!((memory.0, disk.0, found.0), (1, 2, 0));
    assert!(memory.2.len() > 100 && memory.3.len() > 10);
    for other in [disk, found] {
        assert_eq!((&memory.1, &memory.2), (&other.1, &other.2));
        assert_eq!(memory.3, other.3);
    }
    for (row, key) in memory.2.iter().zip(&memory.1) {
        assert_eq!(row.prompt.as_ref().unwrap().key(), *key);
    }
    assert!(memory.3.iter().all(|row| row.examples[0].ids.is_empty()));
}

/// An origin is no part of a prompt, but how its answer is tokenised depends on this one.
#[test]
fn prompts_on_disk_are_transcripts_as_before() {
    let place = Place::new();
    let row = |i: usize| {
        let prompt = format!("\n\nHuman: Row {i}?\n\nAssistant:");
        format!(
            "{}\n",
            serde_json::json!({ "prompt": prompt, "completion": " b" })
        )
    };
    std::fs::write(place.data(), (0..40).map(row).collect::<String>()).unwrap();
    place.age(&place.data());
    let transcripts = |memory_mb: usize| {
        let config = place.config(memory_mb, "");
        let preparing = Preparing {
            keeps_prompts: true,
            ..place.preparing(&config)
        };
        let rows = preparing.rows(&byte_encoder().within(70), &mut ()).unwrap();
        let all = [rows.train, rows.held_out].map(|set| set.into_rows().unwrap());
        let is_transcript =
            |row: &data::Row<1>| row.prompt.as_ref().unwrap().origin.is_transcript();
        all.concat().iter().map(is_transcript).collect::<Vec<_>>()
    };
    let memory = transcripts(256);
    assert!(memory.contains(&true), "{memory:?}");
    assert_eq!((&memory, &memory), (&transcripts(0), &transcripts(0)));
}

#[test]
fn a_file_that_changed_is_read_again() {
    let place = Place::new();
    let config = place.config(0, "");
    place.prepare(&config).unwrap();
    let text = std::fs::read_to_string(place.data()).unwrap();
    std::fs::write(place.data(), text.replace("Row 1.", "Row one.")).unwrap();
    place.age(&place.data());
    let (known, rows) = place.prepare(&config).unwrap();
    assert!(!known);
    same(&rows, &place.prepare(&place.config(256, "")).unwrap().1);
    // the same bytes at another place are found, once their hash is known
    let n = || {
        std::fs::read_dir(place.dir.path().join("cache/data"))
            .unwrap()
            .count()
    };
    let before = n();
    std::fs::copy(place.data(), place.dir.path().join("copy.jsonl")).unwrap();
    let copy = RowsConfig::<10> {
        path: place.dir.path().join("copy.jsonl").into(),
        ..config
    };
    place.prepare(&copy).unwrap();
    assert_eq!(n(), before);
}

/// The bytes alone do not say what the rows are.
#[test]
fn the_same_bytes_of_another_kind_are_other_rows() {
    let place = Place::new();
    let config = place.config(0, "");
    let (_, rows) = place.prepare(&config).unwrap();
    let text = place.dir.path().join("rows.txt");
    std::fs::copy(place.data(), &text).unwrap();
    place.age(&text);
    let of = |path: PathBuf| RowsConfig::<10> {
        path: path.into(),
        ..config.clone()
    };
    let (_, lines) = place.prepare(&of(text.clone())).unwrap();
    assert_ne!(
        all(&lines.train),
        all(&rows.train),
        "lines of text are others"
    );
    // and of several files, those of a source
    let other = place.dir.path().join("other.jsonl");
    std::fs::copy(place.data(), &other).unwrap();
    let third = place.dir.path().join("third.jsonl");
    std::fs::write(&third, "{\"prompt\": \"x\", \"completion\": \"y\"}\n").unwrap();
    let sources = |first: &[&Path], second: &[&Path]| {
        let text = format!(
            "memory_mb = 0\nmax_len = 70\nsources = [{{ path = {first:?}, weight = 2.0 }}, {{ path = {second:?} }}]"
        );
        let config: RowsConfig<10> = toml::from_str(&text).unwrap();
        place.prepare(&config).unwrap().1.train.mixture()
    };
    let data = place.data();
    let [one, two] = [
        sources(&[&data, &other], &[&third]),
        sources(&[&data], &[&other, &third]),
    ];
    assert_ne!(one, two);
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    let place = Place::new();
    let link = place.dir.path().join("link.jsonl");
    std::os::unix::fs::symlink(place.data(), &link).unwrap();
    let paths = format!("{:?}", [place.data(), link.clone()]);
    let config: RowsConfig<10> = toml::from_str(&format!("path = {paths}")).unwrap();
    let error = place.prepare(&config).err().unwrap().to_string();
    let expected = format!(
        "{} is read twice, by {} and {}; to visit rows more often, give them a weight in \
         [[data.sources]]",
        link.display(),
        place.data().display(),
        link.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn damaged_tokens_are_named_or_made_again() {
    let place = Place::new();
    let config = place.config(0, "");
    let (_, rows) = place.prepare(&config).unwrap();
    let files = [
        "train.index",
        "held-out.index",
        "held-out.jsonl",
        "prompts.keys",
        "prepared.json",
    ];
    for name in files {
        let file = place.tokens().join(name);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[3] ^= 4;
        std::fs::write(&file, bytes).unwrap();
        same(&rows, &place.prepare(&config).unwrap().1);
    }
    for name in files {
        std::fs::remove_file(place.tokens().join(name)).unwrap();
        same(&rows, &place.prepare(&config).unwrap().1);
    }
    // a row is checked when it is read
    let file = place.tokens().join("train.tokens");
    let bytes = std::fs::read(&file).unwrap();
    for at in (0..bytes.len()).step_by(61) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let (_, found) = place.prepare(&config).unwrap();
        let errors = (0..found.train.len()).filter_map(|row| found.train.get(row).err());
        let errors: Vec<String> = errors.map(|e| e.to_string()).collect();
        assert_eq!(errors.len(), 1, "{at}: {errors:?}");
        assert!(
            errors[0]
                .ends_with("is damaged; delete the directory, and the rows are prepared again")
        );
    }
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    same(&rows, &place.prepare(&config).unwrap().1);
}

#[test]
fn what_an_ended_process_left_is_deleted() {
    let place = Place::new();
    let data = place.dir.path().join("cache/data");
    let [ended, running] = ["new-a", "new-b"].map(|name| {
        std::fs::create_dir_all(data.join(name)).unwrap();
        std::fs::File::create(data.join(name).join("lock")).unwrap()
    });
    running.lock().unwrap();
    drop(ended);
    place.prepare(&place.config(0, "")).unwrap();
    assert!(!data.join("new-a").exists() && data.join("new-b").exists());
}
