//! The objective of reward modelling: `-log σ(r_w − r_l)`, with scores at the last token of each
//! answer.

use crate::config::Config;
use crate::pair::{Pair, Pairs, neg_log_sigmoid, ranked_right};
use crate::prepare::SHOWN;
use crate::samples::Samples;
use anyhow::Result;
use candle_core::{Tensor, Var};
use data::{Encoder, Example, Template};
use generation::Request;
use models::{CausalLm, Lora, ScalarHead};
use policy::{Base, Batch};
use rewards::RewardModel;
use run::Run;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use train::Evaluation;

pub(crate) struct Objective {
    pub base: Rc<Base>,
    pub template: Template,
    pub encoder: Encoder,
    pub lora: Lora,
    pub head: ScalarHead,
    pub eval: Pairs,
    /// For mean and variance. Drawn by the first forward, when nothing can refuse the run any more
    pub samples: Samples,
    pub center_coefficient: f64,
    pub micro_batch_tokens: usize,
}

impl Objective {
    /// Starts from the adapter of `policy`, or from a fresh one. `requests`: for the samples.
    pub fn open(
        config: &Config,
        policy: policy::Policy,
        eval: Pairs,
        requests: Vec<Request>,
    ) -> Result<Self> {
        let policy::Policy {
            base,
            adapter,
            encoder,
            template,
            ..
        } = policy;
        let seed = config.train.seed;
        let lora = match &adapter {
            Some(adapter) => adapter.trainable()?,
            None => Lora::init(&config.lora, &base.model, seed)?.trainable()?,
        };
        let width = base.model.config.hidden_size;
        let std = 1.0 / (width as f64 + 1.0).sqrt();
        let head = ScalarHead::init(width, std, seed, base.model.device())?.trainable()?;
        Ok(Self {
            base,
            template,
            encoder,
            lora,
            head,
            eval,
            samples: Samples::new(adapter, requests, config.reward.max_rows),
            center_coefficient: config.reward.center_coefficient,
            micro_batch_tokens: config.train.micro_batch_tokens,
        })
    }

    fn model(&self) -> &CausalLm {
        &self.base.model
    }

    /// Scores of the chosen and the rejected answers, [2, P]. A pair's answers share their prompt's
    /// forward.
    fn scores(
        &self,
        pairs: &[&Pair],
        lora: &Lora,
        head: &ScalarHead,
        dropout: Option<u64>,
    ) -> Result<Tensor> {
        let answers = pairs.iter().flat_map(|p| [&p.chosen, &p.rejected]);
        let batch = Batch::of_examples(&answers.collect::<Vec<_>>());
        let hidden = batch.hidden(self.model(), Some(lora), dropout)?;
        let scores = head.apply(&batch.last_rows(&hidden)?)?;
        Ok(scores.reshape((pairs.len(), 2))?.t()?)
    }

    /// The current artefact, with its golden scores and normalisation.
    pub fn artefact(&self) -> Result<RewardModel> {
        let golden: Vec<Vec<u32>> = self
            .eval
            .read(0..SHOWN.min(self.eval.len()))?
            .into_iter()
            .flat_map(|p| [p.chosen.ids, p.rejected.ids])
            .collect();
        let model = RewardModel::new(
            self.model(),
            self.lora.frozen(),
            self.head.frozen(),
            self.template.clone(),
            self.encoder.ends().clone(),
            &self.base.source,
        )?;
        Ok(model.calibrated(self.model(), self.samples.drawn()?, golden)?)
    }
}

impl train::Objective for Objective {
    type Item = Pair;

    fn frozen(&self) -> Vec<(String, Tensor)> {
        self.model().tensors()
    }

    fn tokens(&self, pair: &Pair) -> usize {
        pair.tokens()
    }

    fn count(&self, pairs: &[&Pair]) -> usize {
        pairs.len()
    }

    fn loss_sum(&mut self, pairs: &[&Pair], step: u64) -> Result<(Tensor, BTreeMap<String, f64>)> {
        self.samples.draw(&self.base.model, &self.encoder)?;
        let dropout = (self.lora.config.dropout > 0.0).then_some(step);
        let scores = self.scores(pairs, &self.lora, &self.head, dropout)?;
        let (chosen, rejected) = (scores.get(0)?, scores.get(1)?);
        let margin = (&chosen - &rejected)?;
        let mut loss = neg_log_sigmoid(&margin)?.sum_all()?;
        if self.center_coefficient > 0.0 {
            loss = (loss + ((chosen + rejected)?.sqr()?.sum_all()? * self.center_coefficient)?)?;
        }
        let margins = margin.detach().to_vec1::<f32>()?;
        let right: f64 = margins.iter().map(|margin| ranked_right(*margin)).sum();
        let sum: f64 = margins.iter().map(|m| *m as f64).sum();
        Ok((
            loss,
            BTreeMap::from([("accuracy".into(), right), ("margin".into(), sum)]),
        ))
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        self.samples.draw(&self.base.model, &self.encoder)?;
        let (lora, head) = (self.lora.frozen(), self.head.frozen());
        let lens: Vec<usize> = (0..self.eval.len())
            .map(|row| self.eval.tokens(row))
            .collect();
        let (mut loss, mut margins, mut longer) = (0.0, Vec::new(), 0.0);
        for range in ops::micro_batches(&lens, self.micro_batch_tokens) {
            let pairs = self.eval.read(range)?;
            longer += pairs.iter().map(Pair::longer_wins).sum::<f64>();
            let pairs: Vec<&Pair> = pairs.iter().collect();
            let scores = self.scores(&pairs, &lora, &head, None)?;
            let margin = (scores.get(0)? - scores.get(1)?)?;
            loss += neg_log_sigmoid(&margin)?.sum_all()?.to_scalar::<f32>()? as f64;
            margins.extend(margin.to_vec1::<f32>()?);
        }
        let n = margins.len().max(1) as f64;
        let mean = margins.iter().map(|m| *m as f64).sum::<f64>() / n;
        let right: f64 = margins.iter().map(|margin| ranked_right(*margin)).sum();
        let metrics = BTreeMap::from([
            ("accuracy".to_string(), right / n),
            ("longer_wins_accuracy".to_string(), longer / n),
            ("margin".to_string(), mean),
        ]);
        Ok(Evaluation {
            loss: loss / n,
            metrics,
        })
    }

    /// Without centring, the loss depends only on differences of scores, so the head's bias has no
    /// gradient and is not trained.
    fn params(&self) -> Vec<(String, Var)> {
        let learns = |name: &str| self.center_coefficient > 0.0 || name != "bias";
        let head = self
            .head
            .vars()
            .into_iter()
            .filter(|(name, _)| learns(name))
            .map(|(name, var)| (format!("head.{name}"), var));
        self.lora.vars().into_iter().chain(head).collect()
    }

    fn save_result(&self, run: &Run) -> Result<()> {
        let artefact = self.artefact()?;
        run.replace_dir(
            "reward",
            |dir| Ok(artefact.save(dir, &self.base.tokenizer)?),
        )
    }

    fn save_params(&self, dir: &Path) -> Result<()> {
        train::save_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn load_params(&mut self, dir: &Path) -> Result<()> {
        train::load_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn sample(&mut self, step: u64) -> Result<Option<String>> {
        use std::fmt::Write;
        let (lora, head) = (self.lora.frozen(), self.head.frozen());
        let pairs = self.eval.read(0..SHOWN.min(self.eval.len()))?;
        let pairs: Vec<&Pair> = pairs.iter().collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        let scores = self.scores(&pairs, &lora, &head, None)?.to_vec2::<f32>()?;
        let mut text = format!("# Step {step}: held-out pairs and their scores\n");
        for (i, pair) in pairs.iter().enumerate() {
            let answer = |e: &Example| self.encoder.decode(&e.ids[e.prompt_len..]);
            let prompt = self
                .encoder
                .decode(&pair.chosen.ids[..pair.chosen.prompt_len])?;
            let (chosen, rejected) = (answer(&pair.chosen)?, answer(&pair.rejected)?);
            let (won, lost) = (scores[0][i], scores[1][i]);
            write!(
                text,
                "\n## {}\n\n{prompt}\n\n**chosen, {won:.3}:** {chosen}\n\n**rejected, {lost:.3}:** {rejected}\n",
                i + 1
            )?;
        }
        Ok(Some(text))
    }
}
