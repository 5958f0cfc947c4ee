//! One response to be scored, as text and as ids.

#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub prompt: &'a str,
    pub response: &'a str,
    /// The data's own answer, where it has one
    pub reference: Option<&'a str>,
    /// Prompt and response
    pub ids: &'a [u32],
    /// Of the response, EOS included
    pub n_response_tokens: usize,
}
