//! The chat template of a merged model: under `apply_chat_template(add_generation_prompt=True)` of
//! transformers it must give the ids that the run's prompts had.

use anyhow::Result;
use data::{Ask, Encoder, Message, Prompt, Template};
use policy::Policy;

/// The Alpaca prompt as a chat template, equal to what `data::Template::Alpaca` renders: the last
/// user turn is the instruction, everything before it the input. A single turn may have its input
/// in `alpaca_input`. A final assistant turn is the answer and ends with EOS.
const ALPACA: &str = r#"
{%- set answered = messages[-1].role == 'assistant' -%}
{%- set asked = messages[:-1] if answered else messages -%}
{%- set speaker = {'user': 'Human', 'assistant': 'Assistant', 'system': 'System'} -%}
{%- set with_input = asked[-1].alpaca_input is defined and asked[-1].alpaca_input -%}
{%- if asked | length > 1 or with_input -%}
{{- 'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n' + asked[-1].content + '\n\n### Input:\n' -}}
{%- for message in asked[:-1] -%}
{{- ('' if loop.first else '\n\n') + speaker[message.role] + ': ' + message.content -}}
{%- endfor -%}
{%- if with_input -%}{{- ('\n\n' if asked | length > 1 else '') + asked[-1].alpaca_input -}}{%- endif -%}
{%- else -%}
{{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n' + asked[-1].content -}}
{%- endif -%}
{{- '\n\n### Response:' -}}
{%- if answered -%}{{- messages[-1].content + eos_token -}}{%- endif -%}
"#;

pub(crate) struct MergedTemplate {
    /// None: the run's prompts are the text itself
    pub source: Option<String>,
    /// What other programs must do where the template does not show it
    pub note: Option<String>,
}

impl MergedTemplate {
    pub fn of(policy: &Policy) -> Result<Self> {
        Ok(match &policy.template {
            Template::Chat { source, .. } => chat(policy, source)?,
            Template::Alpaca => Self {
                source: Some(match policy.base.special.add_bos {
                    true => format!("{{{{- bos_token -}}}}{ALPACA}"),
                    false => ALPACA.to_string(),
                }),
                note: Some(
                    "the chat template is Alpaca's prompt; the input of an instruction goes into \
                     the message as \"alpaca_input\": {\"role\": \"user\", \"content\": \
                     INSTRUCTION, \"alpaca_input\": INPUT}"
                        .to_string(),
                ),
            },
            Template::Raw => Self {
                source: None,
                note: Some(
                    "no chat template is written: the run's prompts are the text itself (template \
                     = \"raw\"); give other programs the text, not messages"
                        .to_string(),
                ),
            },
        })
    }
}

/// A chat template with what the run's prompts had and it does not write: BOS before them, and the
/// header of an answer after them.
fn chat(policy: &Policy, source: &str) -> Result<MergedTemplate> {
    let header = policy.encoder.prompt_header();
    let bos = missing_bos(policy);
    if header.is_empty() && bos.is_none() {
        return Ok(MergedTemplate {
            source: Some(source.to_string()),
            note: None,
        });
    }
    let parts = [
        bos.map(|bos| format!("begin with {bos:?}")),
        (!header.is_empty()).then(|| format!("end with {header:?}")),
    ];
    let parts = parts
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ");
    let completed = completed(source, header, bos.is_some());
    let (source, note) = match gives_the_same(policy, &completed, bos)? {
        true => (
            completed,
            format!(
                "the written chat template makes prompts {parts}, as the run's did; the model's \
                 own does not"
            ),
        ),
        false => (
            source.to_string(),
            format!(
                "the chat template does not make prompts {parts}, as the run's did, and could not \
                 be completed; give other programs prompts that do"
            ),
        ),
    };
    Ok(MergedTemplate {
        source: Some(source),
        note: Some(note),
    })
}

/// BOS, where the run's prompts begin with it and its chat template does not write it.
fn missing_bos(policy: &Policy) -> Option<&str> {
    let special = &policy.base.special;
    let (_, bos) = special.bos.as_ref().filter(|_| special.add_bos)?;
    let written = probes().into_iter().find_map(|prompt| {
        let text = policy.template.render(&prompt.ask).ok()?;
        Some(text.starts_with(bos.as_str()))
    });
    (written == Some(false)).then_some(bos.as_str())
}

/// The template with what is missing. Expressions are used, not blocks: blocks would remove white
/// space around them.
fn completed(source: &str, header: &str, with_bos: bool) -> String {
    let start = if with_bos { "{{ bos_token }}" } else { "" };
    if header.is_empty() {
        return format!("{start}{source}");
    }
    // The engine drops one line break at the end of a template, where it now is no longer.
    let source = source.strip_suffix('\n').unwrap_or(source);
    let header = header.replace('\\', r"\\").replace('\'', r"\'");
    let header = header.replace('\n', r"\n").replace('\r', r"\r");
    format!("{start}{source}{{{{ '{header}' if add_generation_prompt else '' }}}}")
}

/// Whether prompts and answered prompts have the ids of the run's.
fn gives_the_same(policy: &Policy, completed: &str, bos: Option<&str>) -> Result<bool> {
    let mut template = policy.template.clone();
    if let Template::Chat { source, .. } = &mut template {
        *source = completed.to_string();
    }
    let (run, base) = (&policy.encoder, &policy.base);
    let ends = run.ends().clone();
    let Ok(encoder) = Encoder::new(base.tokenizer.clone(), template.clone(), ends) else {
        return Ok(false);
    };
    let mut n_same = 0;
    for prompt in probes() {
        let Ok(expected) = run.example(&prompt, "An answer.") else {
            continue; // a template may refuse a system turn
        };
        let Ok(text) = template.render(&prompt.ask) else {
            return Ok(false);
        };
        let has_bos = bos.is_none_or(|bos| text.starts_with(bos));
        let is_same = encoder.example(&prompt, "An answer.").ok() == Some(expected)
            && encoder.prompt(&prompt)? == run.prompt(&prompt)?;
        if !has_bos || !is_same {
            return Ok(false);
        }
        n_same += 1;
    }
    Ok(n_same > 0)
}

/// Questions of several forms.
fn probes() -> Vec<Prompt> {
    let chat = |turns: &[(&str, &str)]| {
        let turns = turns.iter().map(|(role, text)| Message::new(role, text));
        Ask::Chat(turns.collect())
    };
    let asks = [
        Ask::instruction("A question."),
        chat(&[("user", "One."), ("assistant", "Two."), ("user", "Three.")]),
        chat(&[("system", "Be brief."), ("user", "A question.")]),
    ];
    asks.into_iter().map(|ask| Prompt::new(ask, None)).collect()
}
