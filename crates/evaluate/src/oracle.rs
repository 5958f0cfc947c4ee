//! The tiny world's oracle on questions of any form.

use data::Ask;

/// The grade of an answer, 1 to 10; `None` if the question is not one of the tiny world's.
pub(crate) fn grade(ask: &Ask, answer: &str) -> Option<f64> {
    let grade = match ask {
        Ask::Instruction { instruction, input } => tiny_world::grade(instruction, input, answer),
        Ask::Chat(messages) => match &messages[..] {
            [one] => tiny_world::grade(&one.content, "", answer),
            _ => None,
        },
        Ask::Raw(text) => tiny_world::grade(text, "", answer),
    };
    Some(grade?.score)
}
