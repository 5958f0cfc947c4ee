//! One response to score, as text and as token ids.

/// What a source sees of a response.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub prompt: &'a str,
    pub response: &'a str,
    /// The data's answer, if it has one
    pub reference: Option<&'a str>,
    /// Prompt and response; a finished one ends in the EOS that the reward model was trained on
    pub ids: &'a [u32],
    /// Tokens of the prompt in `ids`
    pub prompt_len: usize,
    /// Tokens of the response as it was drawn, the one that ended it included
    pub n_response_tokens: usize,
}
