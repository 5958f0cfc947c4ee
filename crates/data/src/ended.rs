//! Drawn responses as a reward model reads them: with the end that training wrote.

use crate::Encoder;

impl Encoder {
    /// A prompt and a drawn response as training writes an answer: with EOS at its end. A response
    /// may end with another stop token (Llama 3 has two), which no training row ends with: a token
    /// of its own gives way to EOS; one that is text stays, and EOS follows, in its place where
    /// `context` has no room for one more. A response that was cut off stays as it is.
    pub fn ended_as_trained(&self, ids: &[u32], prompt_len: usize, context: usize) -> Vec<u32> {
        let mut ended = ids.to_vec();
        let last = ids[prompt_len.min(ids.len())..].last();
        let other = |id: &&u32| **id != self.ends().eos && self.ends().stop.contains(*id);
        if let Some(stop) = last.filter(other) {
            if self.end_marks.contains(stop) || ended.len() >= context {
                ended.pop();
            }
            ended.push(self.ends().eos);
        }
        ended
    }
}
