//! The methods by name. The contract tests run over this table.

use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::metrics::Definitions;
use crate::settings::{self, MethodConfig, Unused};
use crate::shared_metrics::SHARED;
use crate::{
    a_lol::ALol, dpo::Dpo, esrl::Esrl, gold::Gold, grpo::Grpo, ma_ppo::MaPpo, mrt::Mrt, ppo::Ppo,
    reinforce::Reinforce, rest::Rest, rloo::Rloo, rwr::Rwr,
};
use serde_json::{Value, json};

/// Every method, in the order of `wick list`.
pub fn registry() -> Vec<Entry> {
    [
        Entry::of::<Esrl>(),
        Entry::of::<Grpo>(),
        Entry::of::<MaPpo>(),
        Entry::of::<Mrt>(),
        Entry::of::<Ppo>(),
        Entry::of::<Reinforce>(),
        Entry::of::<Rloo>(),
        Entry::of::<Gold>(),
        Entry::of::<ALol>(),
        Entry::of::<Rwr>(),
        Entry::of::<Rest>(),
        Entry::of::<Dpo>(),
    ]
    .concat()
}

/// One method under one name.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The value of `algorithm.name`.
    pub name: &'static str,
    /// Its page is docs/methods/PAGE.md.
    pub page: &'static str,
    /// One line on what it does.
    pub about: &'static str,
    /// Authors, year and arXiv number.
    pub paper: &'static str,
    /// The metrics that only this method and its family log.
    pub metrics: Definitions,
    build: fn(&str, &Value, u64) -> Result<Box<dyn Algorithm>>,
    resolve: fn(&str, &Value) -> Result<Value>,
    unused: fn(&str, &Value) -> Result<Unused>,
}

impl Entry {
    /// The entries of a method, one per name.
    pub fn of<M: Method>() -> Vec<Self> {
        let entry = |name: &crate::Name| Self {
            name: name.name,
            page: M::PAGE,
            about: name.about,
            paper: name.paper,
            metrics: M::METRICS,
            build: build_method::<M>,
            resolve: resolve_method::<M>,
            unused: unused_of_method::<M>,
        };
        M::NAMES.iter().map(entry).collect()
    }

    /// The algorithm, from the `[algorithm]` table without `name`. `seed` keys its random streams.
    ///
    /// A mistake in the table is an error of one line that names the key.
    pub fn build(&self, given: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
        (self.build)(self.name, given, seed)
    }

    /// Every setting, with the user's keys over the defaults. Ranges are not checked.
    pub fn resolve(&self, given: &Value) -> Result<Value> {
        (self.resolve)(self.name, given)
    }
}

fn build_method<M: Method>(name: &str, given: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
    let config = settings::resolve(&M::defaults(name, given)?, given)?;
    config.check()?;
    Ok(M::build(name, config, seed))
}

fn resolve_method<M: Method>(name: &str, given: &Value) -> Result<Value> {
    Ok(json!(settings::resolve(&M::defaults(name, given)?, given)?))
}

/// The keys of `given` that have another value than the default and are never read.
fn unused_of_method<M: Method>(name: &str, given: &Value) -> Result<Unused> {
    let defaults = M::defaults(name, given)?;
    let config = settings::resolve(&defaults, given)?;
    let (values, defaults) = (json!(config), json!(defaults));
    let at = |table: &Value, key: &str| {
        table
            .pointer(&format!("/{}", key.replace('.', "/")))
            .cloned()
    };
    let mut unused = config.unused();
    unused.retain(|(key, _)| at(&values, key) != at(&defaults, key));
    Ok(unused)
}

/// The names of all methods.
pub fn names() -> Vec<&'static str> {
    registry().iter().map(|entry| entry.name).collect()
}

/// The algorithm of that name, from its `[algorithm]` table without `name`.
///
/// ```
/// use algorithms::{Experience, Scores, Totals, build};
/// use candle_core::{Device, Tensor};
/// use serde_json::json;
///
/// # fn main() -> algorithms::Result<()> {
/// let mut rloo = build("rloo", &json!({"samples": 2, "kl_coef": 0.0, "clip": 0.0}), 1)?;
///
/// // two answers to one prompt, of two tokens and of one, scored 1 and 0
/// let exp = Experience {
///     lens: vec![2, 1],
///     prompt_key: vec![7, 7],
///     finished: vec![true, true],
///     score: vec![1.0, 0.0],
///     logp_old: vec![-0.5, -0.5, -1.0],
///     ..Experience::default()
/// };
/// let (exp, metrics) = rloo.prepare(exp)?;
/// assert_eq!(exp.weight, [1.0, -1.0]); // each reward minus that of the other answer
/// assert_eq!(metrics["objective/scores"], 0.5);
///
/// let now = Scores {
///     logp: Tensor::new(&[-0.5, -0.5, -1.0], &Device::Cpu)?,
///     entropy: Tensor::new(&[0.7, 0.7, 0.9], &Device::Cpu)?,
/// };
/// let loss = rloo.policy_loss(&now, &exp, Totals::of(&exp))?;
/// assert_eq!(loss.loss.to_scalar::<f64>()?, 0.0); // −(1 · 1 − 1 · 1) / 2: every ratio is 1
/// assert_eq!(loss.metrics["policy/ratio"], 1.0);
/// # Ok(())
/// # }
/// ```
pub fn build(name: &str, given: &Value, seed: u64) -> Result<Box<dyn Algorithm>> {
    entry(name)?.build(given, seed)
}

/// All settings of a method: its defaults, overridden by the `[algorithm]` table `given`. Resolving
/// the result again returns the same.
pub fn resolve(name: &str, given: &Value) -> Result<Value> {
    entry(name)?.resolve(given)
}

/// The keys of the `[algorithm]` table `given` that are not at their default and that the method
/// never reads under the others, each with why. They are accepted by [`build`], since a resolved
/// table has every key.
pub fn unused(name: &str, given: &Value) -> Result<Unused> {
    (entry(name)?.unused)(name, given)
}

fn entry(name: &str) -> Result<Entry> {
    let found = registry().into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| {
        let near = run::nearest(name, &names()).unwrap_or_default();
        Error::Input(format!(
            "algorithm.name = {name:?} is not known; did you mean {near:?}? It is one of {}",
            names().join(", ")
        ))
    })
}

/// Every metric that some method logs, with its definition.
fn definitions() -> Vec<(&'static str, &'static str)> {
    let mut all = SHARED.to_vec();
    for entry in registry() {
        if !entry
            .metrics
            .iter()
            .all(|definition| all.contains(definition))
        {
            all.extend(entry.metrics);
        }
    }
    all
}

/// The name of every metric that a method may log.
pub fn metric_names() -> Vec<&'static str> {
    definitions().into_iter().map(|(name, _)| name).collect()
}

/// One line on a metric: its meaning and reduction. `first/…` is the same metric at the step's
/// first update.
pub fn metric_definition(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("first/").unwrap_or(name);
    let found = definitions().into_iter().find(|(known, _)| *known == name);
    found.map(|(_, definition)| definition)
}
