//! Reference answers, where rewards or the algorithm compare with them: each prompt needs one with
//! something in it.

use crate::config::Config;
use algorithms::{DataSource, Requirements};
use data::{Error, Look, Prompt, Record, Result};
use rewards::SourceConfig;
use std::collections::HashSet;

/// Looks at the references of the prompts to sample for, and of those held out, each once.
pub(crate) struct References<'a> {
    rewards: &'a [SourceConfig],
    /// Whether the method samples for the training prompts
    samples: bool,
    train: Seen,
    held_out: Seen,
    held_out_keys: HashSet<u64>,
    /// All prompts, if each needs a reference whether it is held out or not
    all: Option<Seen>,
}

/// Prompts so far.
struct Seen {
    /// Who compares with their references, if anybody does, and which prompts they are
    who: Option<&'static str>,
    which: &'static str,
    short: &'static str,
    n: usize,
    without: Found,
    /// For each source of reward: it finds nothing in the reference to compare
    useless: Vec<Found>,
}

/// How many prompts there are of a kind, and where the first was read.
#[derive(Clone, Default)]
struct Found {
    n: usize,
    first: String,
}

impl<'a> References<'a> {
    pub fn new(config: &'a Config, needs: &Requirements) -> Self {
        let compares = rewards::needs_reference(&config.rewards);
        let by_method = needs.text_metric.is_some() || needs.reference_answer || compares;
        let n = config.rewards.len();
        let samples = match &needs.source {
            DataSource::Rollouts => true,
            DataSource::Pool(pool) => pool.grow.as_ref().is_some_and(|grow| !grow.keep_data),
            DataSource::Pairs => false,
        };
        let of_all = || Seen::new(Some("the rewards"), ("prompts", "all"), 0);
        Self {
            rewards: &config.rewards,
            samples,
            all: (samples && compares).then(of_all),
            train: Seen::new(
                by_method.then_some("this algorithm or its rewards"),
                ("training prompts", "training"),
                n,
            ),
            held_out: Seen::new(
                compares.then_some("the rewards"),
                ("prompts held out for evaluation", "held-out"),
                n,
            ),
            held_out_keys: HashSet::new(),
        }
    }

    /// The messages about the held-out prompts of a file of their own.
    pub fn of_held_out(
        config: &'a Config,
        needs: &Requirements,
        prompts: &[Prompt],
    ) -> Result<Vec<String>> {
        let Self {
            mut held_out,
            rewards,
            ..
        } = Self::new(config, needs);
        prompts.iter().for_each(|p| held_out.see(p, rewards));
        held_out.notes(rewards)
    }
}

impl<T: Record> Look<T> for References<'_> {
    fn see(&mut self, record: &T, is_held: bool) {
        let prompt = record.prompt();
        match is_held {
            true if self.held_out_keys.insert(prompt.key()) => {
                self.held_out.see(prompt, self.rewards);
            }
            false if self.samples => self.train.see(prompt, self.rewards),
            _ => {}
        }
    }

    fn count(&mut self, record: &T) {
        if let Some(all) = &mut self.all {
            all.see(record.prompt(), &[]);
        }
    }

    fn check(&self) -> Result<()> {
        let all = self.all.as_ref().map(|all| all.notes(&[])).transpose();
        all.map(drop)
    }

    fn finish(&mut self) -> Result<Vec<String>> {
        let mut notes = self.train.notes(self.rewards)?;
        notes.extend(self.held_out.notes(self.rewards)?);
        Ok(notes)
    }

    fn identity(&self) -> String {
        let who = (self.samples, self.train.who, self.held_out.who);
        let all = serde_json::json!([self.rewards, who]).to_string();
        run::hash(all.as_bytes())
    }
}

impl Seen {
    fn new(
        who: Option<&'static str>,
        (which, short): (&'static str, &'static str),
        n_sources: usize,
    ) -> Self {
        Self {
            who,
            which,
            short,
            n: 0,
            without: Found::default(),
            useless: vec![Found::default(); n_sources],
        }
    }

    fn see(&mut self, prompt: &Prompt, rewards: &[SourceConfig]) {
        self.n += 1;
        if self.who.is_some() && !prompt.has_reference() {
            self.without.add(prompt);
        }
        let reference = prompt.reference.as_deref().unwrap_or("");
        for (source, found) in rewards.iter().zip(&mut self.useless) {
            if rewards::is_useless(source, reference) {
                found.add(prompt);
            }
        }
    }

    /// Says of how many prompts no reward can be above 0, whatever the response.
    ///
    /// Errors: one lacks the reference that is compared with.
    fn notes(&self, rewards: &[SourceConfig]) -> Result<Vec<String>> {
        let Self {
            which, short, n, ..
        } = self;
        if let (Some(who), Found { n: 1.., first }) = (self.who, &self.without) {
            return Err(Error(format!(
                "{who} compare with reference answers, and {} of {n} {which} have none or an empty \
                 one (first: {first}); remove those rows, or use another reward",
                self.without.n
            )));
        }
        let found = rewards.iter().zip(&self.useless);
        let note = |(source, found): (&SourceConfig, &Found)| {
            format!(
                "{short} prompts: {} of {n} have a reference in which {} finds nothing to compare, \
                 so it is 0 for every response (first: {})",
                found.n,
                source.kind.name(),
                found.first
            )
        };
        Ok(found.filter(|(_, found)| found.n > 0).map(note).collect())
    }
}

impl Found {
    fn add(&mut self, prompt: &Prompt) {
        if self.n == 0 {
            self.first = prompt.origin.to_string();
        }
        self.n += 1;
    }
}
