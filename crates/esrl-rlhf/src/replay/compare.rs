//! The metrics of a replayed step beside those that the run recorded.

use run::{MetricsRow, Rules, SavedRun};
use std::collections::BTreeMap;

/// Metrics that both have, timings left out.
pub(super) struct Compared<'a> {
    n_equal: usize,
    /// Name, the value now, the value then
    differ: Vec<(&'a str, f64, f64)>,
}

impl<'a> Compared<'a> {
    pub fn new(metrics: &'a BTreeMap<String, f64>, recorded: &[MetricsRow], step: u64) -> Self {
        let of_step = recorded.iter().filter(|row| row.step == step);
        let recorded: BTreeMap<&String, &f64> = of_step.flat_map(|row| &row.metrics).collect();
        let (mut n_equal, mut differ) = (0, Vec::new());
        for (name, now) in metrics.iter().filter(|(name, _)| !run::is_timing(name)) {
            match recorded.get(name) {
                Some(then) if now == *then || (now.is_nan() && then.is_nan()) => n_equal += 1,
                Some(then) => differ.push((name.as_str(), *now, **then)),
                None => {}
            }
        }
        Self { n_equal, differ }
    }

    /// One line: whether they are equal. `is_certain`: the settings are those that the step was
    /// taken under.
    pub fn line(&self, run: &SavedRun, is_certain: bool) -> String {
        let Some((name, now, then)) = self.differ.first() else {
            let n = self.n_equal;
            return format!("all {n} metrics equal those that the run recorded\n");
        };
        let lr = self.differ.iter().find(|(name, ..)| *name == "policy/lr");
        if let (Some((_, now, then)), false) = (lr, is_certain) {
            return format!(
                "the metrics are not compared: the learning rate of this step is {now:.2e} by the \
                 settings that the run has now, and was {then:.2e}: a resume gave the run another \
                 length, under a version that did not record the length before\n"
            );
        }
        format!(
            "{} of {} metrics differ from those that the run recorded, first {name}: {now} now, \
             {then} then ({})\n",
            self.differ.len(),
            self.n_equal + self.differ.len(),
            reason(run, is_certain)
        )
    }
}

/// What may make metrics differ.
fn reason(run: &SavedRun, is_certain: bool) -> &'static str {
    let is_old = run.rules() < Rules::WholeAnswers;
    let name = run
        .config
        .get("algorithm")
        .and_then(|table| table.get("name"));
    if is_old && name.is_some_and(|name| name.as_str() == Some("dpo")) {
        return "the run began under version 0.1.0, whose gradient was another where the scores of \
                a pair are equal, as all are in the first step";
    }
    match is_certain {
        true => "another build, machine or number of threads?",
        false => "another build, machine or number of threads, or a setting that a resume changed?",
    }
}
