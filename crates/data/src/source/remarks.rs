//! Remarks on rows that are used. Each is printed once, with the number of rows.

/// Something that a user should know of rows that are used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// An ignored field says that the answer is bad: its name, and what it says.
    Bad(String, String),
    /// An ignored field grades the answer: its name.
    Graded(String),
    /// Fields that could each be the reference of a prompt: their names, and those to ignore.
    Answers(String, String),
    /// Turns after the last answer of a conversation that is learnt.
    Trailing,
    /// Prompts whose answer is of weight 0.
    Weightless,
    /// Prompts whose answer calls tools.
    Calls,
    /// A field whose text is what pandas writes for a missing value.
    Missing(String, String),
    /// Fields of null inside tools and calls, which were left out.
    Nulls,
}

impl Remark {
    /// The line for `n` rows (of [`Trailing`](Self::Trailing): turns). `learnt`: what becomes of
    /// an answer.
    pub fn line(&self, n: usize, learnt: &str) -> String {
        let by_number = |one: &str, many: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {many}"),
        };
        let are = if n == 1 { "is" } else { "are" };
        match self {
            Self::Bad(field, says) => format!(
                "{} whose {field:?} is {says} {are} {learnt}, too: data.ignore names it; remove \
                 such rows if their answers are bad",
                by_number("row", "rows")
            ),
            Self::Graded(field) => format!(
                "{} {learnt}, whatever {field:?} says of the answer: data.ignore names it",
                by_number("row is", "rows are")
            ),
            Self::Answers(fields, ignore) => format!(
                "{} two or more fields that could be the answer ({fields}), so their prompts have \
                 no reference; data.ignore = [{ignore}] leaves one",
                by_number("row has", "rows have")
            ),
            Self::Trailing => format!(
                "{} after the last answer that is learnt {are} left out",
                by_number("turn", "turns")
            ),
            Self::Weightless => format!(
                "{} no reference: the weight of the answer is 0",
                by_number("prompt has", "prompts have")
            ),
            Self::Calls => format!(
                "{} no reference: the answer calls tools",
                by_number("prompt has", "prompts have")
            ),
            Self::Missing(field, text) => format!(
                "{} the text {text:?} as {field:?}, which is used as it stands; if it is a missing \
                 value, leave the cell empty (pandas: df.fillna(\"\") before astype(str))",
                by_number("row has", "rows have")
            ),
            Self::Nulls => format!(
                "{} fields of null inside tools or calls, which are left out, as TRL does; to keep \
                 them, write \"tools\" and \"arguments\" as JSON text",
                by_number("row has", "rows have")
            ),
        }
    }
}
