//! Tools in a conversation: those that it declares, the assistant's calls and their results; and
//! whether a template writes them. Many chat templates pass over what they have no place for, so
//! each conversation with tools is rendered once more with names, arguments and results of which
//! no text of the row holds the like: what is not in that text would be lost. For a template that
//! takes no other names these stay, and descriptions and further arguments are looked for.

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
    let Template::Chat { source, .. } = template else {
        return Err(Error(format!(
            "has tools, and the template {:?} has no place for them; set model.template = \"chat\" \
             if the model's own takes tools, or remove such rows",
            template.name()
        )));
    };
    let texts: Vec<_> = messages.iter().chain(answer).map(Message::text).collect();
    let texts = texts.iter().map(|text| text.as_ref());
    let prefix = free_prefix(texts.chain([source.as_str()]));
    let rendered = |keeps_names| {
        let mut probes = Probes {
            made: Vec::new(),
            prefix: &prefix,
            keeps_names,
        };
        let messages = messages.iter().map(|m| probes.put_into(m)).collect();
        let answer = answer.map(|answer| probes.put_into(answer));
        let text = render(template, ask, messages, answer.as_ref())?;
        Ok::<_, Error>(
            probes
                .made
                .into_iter()
                .find(|probe| !text.contains(&probe.text)),
        )
    };
    if let Ok(lost) = rendered(false) {
        return lost.map_or(Ok(()), |lost| Err(lost.part.error()));
    }
    // the error of the row itself is the one to show, where it is encoded
    let of_row = render(template, ask, messages.to_vec(), answer);
    match (of_row, rendered(true)) {
        (Err(_), _) | (Ok(_), Ok(None)) => Ok(()),
        (Ok(_), Ok(Some(lost))) => Err(lost.part.error()),
        (Ok(_), Err(why)) => Err(Error(format!(
            "the chat template takes no other tools and calls than those of the row, so whether it \
             writes these cannot be checked ({why}); remove such rows"
        ))),
    }
}

fn render(
    template: &Template,
    ask: &Ask,
    messages: Vec<Message>,
    answer: Option<&Message>,
) -> Result<String> {
    let ask = match ask {
        Ask::Chat(_) => &Ask::Chat(messages),
        other => other,
    };
    let answered = answer.and_then(|answer| template.render_answered(ask, answer));
    answered.unwrap_or_else(|| template.render(ask))
}

/// What probes begin with: it is in none of the texts.
fn free_prefix<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> String {
    let prefixes = (0..).map(|number| format!("zq{number}n"));
    let is_free = |prefix: &String| !texts.clone().any(|text| text.contains(prefix.as_str()));
    let mut free = prefixes.filter(is_free);
    free.next().expect("no text has every number")
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

/// A text that stands in place of a part of a conversation, or beside it.
struct Probe {
    text: String,
    part: Part,
}

struct Probes<'a> {
    made: Vec<Probe>,
    prefix: &'a str,
    /// Tools and calls keep their names and arguments, and get probes beside them.
    keeps_names: bool,
}

impl Probes<'_> {
    fn probe(&mut self, part: Part) -> String {
        let text = format!("{}{}probe", self.prefix, self.made.len());
        self.made.push(Probe {
            text: text.clone(),
            part,
        });
        text
    }

    /// The message with probes for what templates leave out.
    fn put_into(&mut self, message: &Message) -> Message {
        let mut probed = message.clone();
        if declaration(message).is_some() {
            for tool in items(&mut probed, TOOLS) {
                let function = &mut tool["function"];
                let part = Part::Tool(text(&function["name"]));
                let place = match self.keeps_names {
                    true => "description",
                    false => "name",
                };
                function[place] = self.probe(part).into();
            }
        }
        for call in items(&mut probed, CALLS) {
            let function = &mut call["function"];
            let name = text(&function["name"]);
            if self.keeps_names {
                if let Some(arguments) = function["arguments"].as_object_mut() {
                    let probe = self.probe(Part::Call(name));
                    arguments.insert(self.prefix.to_string(), probe.into());
                }
                continue;
            }
            function["name"] = self.probe(Part::Call(name.clone())).into();
            function["arguments"] = json!({"text": self.probe(Part::Call(name))});
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
