//! An open source of reward: it gives raw scores, before they are normalised, clipped and weighted.

use crate::external::{Endpoint, Program, RetryPolicy, Secret, request, scores_of};
use crate::kind::{Kind, Unfinished};
use crate::{Error, Item, Result, RewardModel, rouge_l, rouge_lsum, rouge_n, sentence_bleu};
use models::CausalLm;
use serde_json::{Map, Value};
use std::time::Duration;

type Metric = dyn Fn(&Item) -> Result<f64>;

/// A running program, a server's address, or a function.
pub(crate) enum OpenSource {
    Model(Unfinished),
    /// Scores one response at a time
    Each(Box<Metric>),
    /// With its responses per request
    Program(Box<Program>, usize),
    Server(Box<Server>),
}

pub(crate) struct Server {
    endpoint: Endpoint,
    batch_size: usize,
    /// Id of the next request
    id: u64,
}

impl OpenSource {
    /// Starts the program, reads the key. `kind` is checked already.
    pub fn open(kind: &Kind) -> Result<Self> {
        Ok(match kind.clone() {
            Kind::Model(keys) => Self::Model(keys.unfinished),
            Kind::Bleu(keys) => compared(move |response, reference| {
                sentence_bleu(response, &[reference], keys.effective_order) / 100.0
            }),
            Kind::Rouge1(keys) => compared(move |r, reference| rouge_n(1, reference, r, keys.stem)),
            Kind::Rouge2(keys) => compared(move |r, reference| rouge_n(2, reference, r, keys.stem)),
            Kind::RougeL(keys) => compared(move |r, reference| rouge_l(reference, r, keys.stem)),
            Kind::RougeLsum(keys) => {
                compared(move |r, reference| rouge_lsum(reference, r, keys.stem))
            }
            Kind::Length(rule) => Self::Each(Box::new(move |item| Ok(rule.score(item)))),
            Kind::Format(rule) => {
                let tests = rule.compile().map_err(Error::Input)?;
                Self::Each(Box::new(move |item| {
                    Ok(f64::from(u8::from(tests.pass(item.response))))
                }))
            }
            Kind::Process(keys) => {
                let retry = RetryPolicy {
                    timeout: Duration::from_secs_f64(keys.timeout_secs),
                    retries: keys.retries,
                };
                let program = Program::start(&keys.command, retry)?;
                Self::Program(Box::new(program), keys.batch_size)
            }
            Kind::Http(keys) => {
                let key = keys.key().map_err(Error::Input)?.map(Secret::new);
                let timeout = Duration::from_secs_f64(keys.timeout_secs);
                let backoff = Duration::from_secs_f64(keys.backoff_secs);
                // A server may ask for longer pauses than ours, up to this deadline.
                let per_attempt = timeout + backoff.max(Duration::from_secs(30));
                let deadline = per_attempt * (keys.retries as u32 + 1);
                let endpoint =
                    Endpoint::new(keys.url, key, timeout, keys.retries, backoff, deadline);
                Self::Server(Box::new(Server {
                    endpoint,
                    batch_size: keys.batch_size,
                    id: 0,
                }))
            }
        })
    }

    /// One finite score per item, in order.
    pub fn read(
        &mut self,
        items: &[Item],
        model: &CausalLm,
        reward: Option<&RewardModel>,
    ) -> Result<Vec<f32>> {
        let scores = match self {
            Self::Model(unfinished) => {
                let reward = reward.ok_or_else(no_model)?;
                let closed = |item: &Item| match unfinished {
                    Unfinished::LastToken => item.ids.to_vec(),
                    Unfinished::Eos => reward.ended(item.ids, model.config.max_position_embeddings),
                };
                let rows: Vec<Vec<u32>> = items.iter().map(closed).collect();
                let rows = rows.iter().zip(items);
                let rows: Vec<_> = rows
                    .map(|(ids, i)| (ids.as_slice(), i.prompt_len))
                    .collect();
                let raw = reward.score(model, &rows)?;
                raw.into_iter()
                    .map(|score| reward.normalised(score))
                    .collect()
            }
            Self::Each(score) => items
                .iter()
                .map(|item| Ok(score(item)? as f32))
                .collect::<Result<Vec<f32>>>()?,
            Self::Program(program, batch_size) => {
                let mut scores = Vec::with_capacity(items.len());
                for batch in items.chunks(*batch_size) {
                    let read = |reply: &_| scores_of(reply, batch.len());
                    scores.extend(program.call(&request(batch), read)?);
                }
                scores
            }
            Self::Server(server) => {
                let mut scores = Vec::with_capacity(items.len());
                for batch in items.chunks(server.batch_size) {
                    scores.extend(server.post(batch)?);
                }
                scores
            }
        };
        match scores.iter().position(|score| !score.is_finite()) {
            Some(at) => Err(Error::Input(format!(
                "the score of row {} is {}",
                at + 1,
                scores[at]
            ))),
            None => Ok(scores),
        }
    }
}

pub(crate) fn no_model() -> Error {
    Error::Input("there is no reward model; set model.reward".into())
}

/// A metric of response and reference answer.
fn compared(metric: impl Fn(&str, &str) -> f64 + 'static) -> OpenSource {
    OpenSource::Each(Box::new(move |item| match item.reference {
        Some(reference) => Ok(metric(item.response, reference)),
        None => Err(Error::Input(
            "a prompt has no reference answer to compare with".into(),
        )),
    }))
}

impl Server {
    fn post(&mut self, batch: &[Item]) -> Result<Vec<f32>> {
        let read = |reply: &Value| {
            let reply = reply.as_object().ok_or("its answer is not a JSON object")?;
            scores_of(reply, batch.len())
        };
        let mut body = Map::from_iter([("id".to_string(), self.id.into())]);
        body.extend(request(batch));
        self.id += 1;
        self.endpoint.post(&body.into(), read).map_err(|failure| {
            Error::External(format!("the server {} {failure}", self.endpoint.url))
        })
    }
}
