//! Tools in a conversation: those that it declares, the assistant's calls and their results; and
//! whether a template writes them. Many chat templates pass over what they have no place for, so
//! each conversation with tools is rendered once more with names, arguments and results of which
//! no text of the row can hold the like: what is not in that text would be lost.

use crate::findings::beginning;
use crate::record::{CALLS, TOOL, TOOLS, declaration};
use crate::{Ask, Error, Message, Result, Template};
use serde_json::{Value, json};

/// Fails if the template would leave out tools, calls or results of the conversation.
pub(crate) fn check(template: &Template, ask: &Ask, answer: Option<&Message>) -> Result<()> {
    let messages = match ask {
        Ask::Chat(messages) => &messages[..],
        Ask::Instruction { .. } | Ask::Raw(_) => &[],
    };
    let has_tools = |m: &Message| m.role == TOOL || !m.fields.is_empty();
    if !messages.iter().chain(answer).any(has_tools) {
        return Ok(());
    }
    let mut probes = Probes(Vec::new());
    let probed_ask = match ask {
        Ask::Chat(messages) => Ask::Chat(messages.iter().map(|m| probes.put_into(m)).collect()),
        other => other.clone(),
    };
    let probed_answer = answer.map(|answer| probes.put_into(answer));
    if !matches!(template, Template::Chat { .. }) {
        return Err(Error(format!(
            "has tools, and the template {:?} has no place for them; set model.template = \"chat\" \
             if the model's own takes tools, or remove such rows",
            template.name()
        )));
    }
    let rendered = match &probed_answer {
        Some(answer) => template.render_answered(&probed_ask, answer),
        None => Some(template.render(&probed_ask)),
    };
    // the row itself is rendered, too: its error is the one to show
    let Some(Ok(text)) = rendered else {
        return Ok(());
    };
    match probes.0.iter().find(|(probe, _)| !text.contains(probe)) {
        Some((_, lost)) => Err(lost.error()),
        None => Ok(()),
    }
}

/// What a template may leave out.
enum Part {
    Tool(String),
    Call(String),
    Result(String),
}

impl Part {
    fn error(&self) -> Error {
        Error(match self {
            Self::Tool(name) => format!(
                "the chat template leaves out the tool {name:?} of \"tools\"; use a model whose chat \
                 template takes tools, or set data.ignore = [\"tools\"] to learn the turns alone"
            ),
            Self::Call(name) => format!(
                "the chat template leaves out the assistant's call of {name:?}; use a model whose \
                 chat template writes tool calls, or remove such rows"
            ),
            Self::Result(text) => format!(
                "the chat template leaves out the tool turn {text:?}; use a model whose chat template \
                 writes tool turns, or remove such rows"
            ),
        })
    }
}

/// Texts that stand in place of parts of a conversation.
struct Probes(Vec<(String, Part)>);

impl Probes {
    fn probe(&mut self, part: Part) -> String {
        let probe = format!("zq{}probe", self.0.len());
        self.0.push((probe.clone(), part));
        probe
    }

    /// The message with probes in place of what templates leave out.
    fn put_into(&mut self, message: &Message) -> Message {
        let mut probed = message.clone();
        let is_declaration = declaration(message).is_some();
        if is_declaration {
            for tool in items(&mut probed, TOOLS) {
                let name = &mut tool["function"]["name"];
                *name = self.probe(Part::Tool(text(name))).into();
            }
        }
        for call in items(&mut probed, CALLS) {
            let function = &mut call["function"];
            let name = text(&function["name"]);
            function["name"] = self.probe(Part::Call(name.clone())).into();
            let argument = self.probe(Part::Call(name));
            function["arguments"] = json!({"text": argument});
        }
        if message.role == TOOL {
            let shown = beginning(&message.content);
            probed.content = self.probe(Part::Result(shown));
        }
        probed
    }
}

/// The objects of a field that is a list.
fn items<'m>(message: &'m mut Message, field: &str) -> impl Iterator<Item = &'m mut Value> {
    let list = message.fields.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}
