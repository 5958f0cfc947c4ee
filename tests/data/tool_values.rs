//! Values inside tools and calls: numbers beyond 64 bits, their count and memory.

use super::file;
use super::tools::{demonstration, loaded, row};
use data::{Format, Record};
use serde_json::Value;

/// Of an integer beyond 64 bits the reader of JSON has a float.
#[test]
fn integers_of_more_than_64_bits_are_refused() {
    let with = |arguments: &str, parameters: &str| {
        let arguments = format!("\"arguments\":{arguments}");
        let text = row()
            .to_string()
            .replace("\"arguments\":{\"city\":\"Oslo\"}", &arguments);
        let (_dir, path) = file(
            "x.jsonl",
            text.replace("\"parameters\":{}", &format!("\"parameters\":{parameters}")),
        );
        let found = data::demonstrations(&path, Format::Auto);
        found.map(|_| ()).map_err(|e| e.to_string())
    };
    for number in [
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "1.5e300",
    ] {
        let object = format!("{{\"id\":{number}}}");
        with(&object, &object).unwrap();
    }
    let call = "row 1: field \"messages[1].tool_calls[0]\" has the number ";
    let what = ", which may be an integer of more than 64 bits, and these are not read exactly; write \
                it as a string, or remove such rows";
    for (number, read) in [
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
    ] {
        let object = format!("{{\"id\":[{number}]}}");
        let error = with(&object, "{}").unwrap_err();
        assert!(error.contains(&format!("{call}{read}{what}")), "{error}");
        let text = Value::from(object.clone()).to_string();
        let error = with(&text, "{}").unwrap_err();
        assert!(error.contains(&format!("{call}{read}{what}")), "{error}");
        let error = with("{}", &object).unwrap_err();
        let tool = format!("row 1: field \"tools[0]\" has the number {read}{what}");
        assert!(error.contains(&tool), "{error}");
    }
}

/// A text may hold far more values than its row.
#[test]
fn texts_of_too_many_values_are_refused() {
    let mut row = row();
    let arguments = format!("{{\"x\": [{}1]}}", "1,".repeat(1_000_000));
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = arguments.into();
    let error = loaded(&row, Format::Auto.into()).unwrap_err();
    let what = "row 1: field \"messages[1].tool_calls[0].arguments\" is text of more than a million \
                values";
    assert!(error.starts_with(what), "{error}");
}

#[test]
fn values_of_tools_and_calls_count_as_memory() {
    let mut row = row();
    row["messages"].as_array_mut().unwrap().truncate(2);
    let found = demonstration(&row);
    let beside = found.held_bytes() - found.n_bytes();
    assert_eq!(beside, 14 * size_of::<Value>());
    row.as_object_mut().unwrap().remove("tools");
    let call = row["messages"][1]["tool_calls"].to_string();
    assert_eq!(demonstration(&row).n_bytes(), "Oslo?".len() + call.len());
}
