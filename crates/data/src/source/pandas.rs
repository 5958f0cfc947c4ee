//! JSON of whole tables, as pandas and `datasets` write it: one object that holds all rows.

use row_files::Object;
use serde_json::Value;

/// What to write instead, if the object is a table and no row.
pub(super) fn table(row: &Object) -> Option<&'static str> {
    const PANDAS: &str = "is a table of pandas that holds all rows in one object; write a line for \
                          each row: df.to_json(path, orient='records', lines=True)";
    const LISTS: &str = "is a table that holds a list for each column, in one object; write a line \
                         for each row (datasets: ds.to_json(path); pandas: df.to_json(path, \
                         orient='records', lines=True))";
    let has = |names: &[&str]| names.iter().all(|name| row.get(*name).is_some_and(is_list));
    let is_split = row.len() == 3 && has(&["columns", "index", "data"]);
    let is_schema = row.len() == 2 && has(&["data"]) && row.contains_key("schema");
    // by column {"prompt": {"0": …}}, or by row {"0": {"prompt": …}}
    let by_column = !row.is_empty() && row.values().all(is_indexed);
    let by_row = !row.is_empty() && row.values().all(Value::is_object) && indices(row);
    if is_split || is_schema || by_column || by_row {
        return Some(PANDAS);
    }
    let lists = row.values().filter_map(Value::as_array);
    let lists: Vec<_> = lists.filter(|list| list.len() > 1).collect();
    let same = lists.len() == row.len() && lists.iter().all(|list| list.len() == lists[0].len());
    let are_texts = lists.iter().all(|list| list.iter().all(Value::is_string));
    (row.len() > 1 && same && are_texts).then_some(LISTS)
}

fn is_list(value: &Value) -> bool {
    value.is_array()
}

/// Whether a value is an object by the numbers of rows.
fn is_indexed(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|column| !column.is_empty() && indices(column))
}

fn indices(object: &Object) -> bool {
    let is_index = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    object.keys().all(is_index)
}
