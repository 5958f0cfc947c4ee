//! A chat template named tool_use beside the default one, as Hermes 2 Pro has it.

use super::copy;
use super::gguf::with_keys;
use candle_core::quantized::gguf_file::Value;
use data::{Format, Template};
use models::{Fetch, ModelSource, model_meta};
use serde_json::json;
use std::fs;

/// Both begin and end with blanks and line breaks that Jinja keeps at the ends of a template and
/// cuts beside a block, or the reverse.
const DEFAULT: &str =
    "\n  {% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}  \n\n";
const TOOL_USE: &str = "  {% set ns = namespace(n=0) %}{% macro show(x) %}{{ x.function.name }}{% endmacro %}\n\
    {% for t in tools %}<{{ show(t) }}>{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}\
    {% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %} \n  ";

/// What transformers renders of a user turn without tools and with one, given both templates.
const RENDERED: [&str; 2] = ["\n[user] Oslo?\n  \n", "<weather>1[user] Oslo?\n \n  "];

fn rendered(source: &ModelSource) -> [String; 2] {
    let meta = model_meta(source, Fetch::Whole).unwrap();
    let template = Template::Chat {
        source: meta.chat_template.unwrap(),
        bos: "<s>".into(),
        eos: "</s>".into(),
        date: None,
    };
    let turns =
        json!([{"role": "user", "content": "Oslo?"}, {"role": "assistant", "content": "Cold."}]);
    let tool = json!({"type": "function", "function": {"name": "weather", "parameters": {}}});
    let rows = [
        json!({"messages": turns}),
        json!({"messages": turns, "tools": [tool]}),
    ];
    let dir = tempfile::tempdir().unwrap();
    rows.map(|row| {
        let file = dir.path().join("row.jsonl");
        fs::write(&file, row.to_string()).unwrap();
        let loaded = data::demonstrations(&file, Format::Auto).unwrap();
        template.render(&loaded.items[0].prompt.ask).unwrap()
    })
}

#[test]
fn rows_with_tools_use_the_template_named_tool_use() {
    let listed = copy("llama3");
    fs::remove_file(listed.path().join("chat_template.jinja")).unwrap();
    let list = [("default", DEFAULT), ("tool_use", TOOL_USE)];
    let list = list.map(|(name, template)| json!({"name": name, "template": template}));
    let settings = json!({ "chat_template": list }).to_string();
    fs::write(listed.path().join("tokenizer_config.json"), settings).unwrap();
    assert_eq!(rendered(&ModelSource::Dir(listed.path().into())), RENDERED);

    let files = copy("llama3");
    let others = files.path().join("additional_chat_templates");
    fs::create_dir(&others).unwrap();
    fs::write(files.path().join("chat_template.jinja"), DEFAULT).unwrap();
    fs::write(others.join("tool_use.jinja"), TOOL_USE).unwrap();
    assert_eq!(rendered(&ModelSource::Dir(files.path().into())), RENDERED);

    let dir = tempfile::tempdir().unwrap();
    let gguf = dir.path().join("m.gguf");
    let key = |name: &str, template: &str| (name.to_string(), Value::String(template.into()));
    let keys = [
        key("tokenizer.chat_template", DEFAULT),
        key("tokenizer.chat_template.tool_use", TOOL_USE),
    ];
    with_keys("bpe", &keys, &gguf);
    assert_eq!(rendered(&ModelSource::Gguf(gguf)), RENDERED);
}
