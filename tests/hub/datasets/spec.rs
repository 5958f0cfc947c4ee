//! Names of data sets.

use hub::DatasetSpec;

#[track_caller]
fn refused(text: &str, part: &str) {
    let error = DatasetSpec::parse(text).unwrap().unwrap_err().to_string();
    assert!(error.contains(part), "{part:?} is not in: {error}");
    let form = "the form is hub:ORG/NAME[/SUBSET or PATH][@REVISION][:SPLIT]";
    assert!(error.starts_with(text) && error.ends_with(form), "{error}");
}

#[test]
fn names_are_read_and_printed() {
    for text in [
        "hub:org/name",
        "hub:org/name.v-1_2/en",
        "hub:org/name/data/x.jsonl",
        "hub:org/name/data/*.jsonl:test",
        "hub:org/name@v1.0",
        "hub:org/name@refs/pr/1",
        "hub:org/name@refs/convert/parquet:train",
        "hub:org/name/en@0123456789abcdef0123456789abcdef01234567:test_sft",
        "hub:org/name:validation.matched",
    ] {
        let spec = DatasetSpec::parse(text).unwrap().unwrap();
        assert_eq!(spec.to_string(), text);
        assert!(spec.id().starts_with("org/name"), "{}", spec.id());
    }
    // a folder may end with a slash
    let folder = DatasetSpec::parse("hub:org/name/data/").unwrap().unwrap();
    assert_eq!(folder.to_string(), "hub:org/name/data");
    for text in [
        "org/name",
        "data/train.jsonl",
        "HUB:org/name",
        "https://hub:org/name",
    ] {
        assert!(DatasetSpec::parse(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused_with_the_form() {
    for (text, part) in [
        ("hub:", "no organisation"),
        ("hub:squad", "\"squad\" has no organisation or user"),
        ("hub:/name", "\"\" is no name"),
        ("hub:org/", "\"\" is no name"),
        ("hub:../name", "\"..\" is no name"),
        ("hub:org/na me", "\"na me\" is no name"),
        ("hub:org/name/../x", "\"../x\" is no path"),
        ("hub:org/name//etc/passwd", "\"/etc/passwd\" is no path"),
        ("hub:org/name/a\\b", "is no path"),
        ("hub:org/name@", "\"\" is no revision"),
        ("hub:org/name@../../x", "is no revision"),
        ("hub:org/name@/x", "is no revision"),
        ("hub:org/name@a b", "\"a b\" is no revision"),
        ("hub:org/name:", "\"\" is no split"),
        (
            "hub:org/name:train@main",
            "the split comes after the revision",
        ),
        ("hub:org/name:train:test", "\"train:test\" is no split"),
        ("hub:org/name:train[:10%]", "is a slice; only whole splits"),
        ("hub:org/name:train+test", "is more than one split"),
        ("hub:org/name@main:a/b", "\"a/b\" is no split"),
    ] {
        refused(text, part);
    }
}
