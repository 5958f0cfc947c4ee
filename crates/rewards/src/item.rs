//! One response to score, as text and as token ids.

/// What a source sees of a response.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub prompt: &'a str,
    pub response: &'a str,
    /// The data's answer, if it has one
    pub reference: Option<&'a str>,
    /// Prompt and response
    pub ids: &'a [u32],
    /// Tokens of the response, EOS included
    pub n_response_tokens: usize,
}
