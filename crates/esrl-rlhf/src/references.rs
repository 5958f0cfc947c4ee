//! Reference answers, where rewards or the algorithm compare with them: each prompt needs one with
//! something in it.

use crate::config::Config;
use algorithms::Requirements;
use anyhow::{Result, bail};
use data::Prompt;

/// Fails if a prompt lacks the reference that is compared with. Says on stderr of how many no
/// reward can be above 0, whatever the response. `train`: the prompts to sample for, if the method
/// samples.
pub(crate) fn check(
    train: Option<&[Prompt]>,
    held_out: &[Prompt],
    config: &Config,
    needs: &Requirements,
) -> Result<()> {
    let compares = rewards::needs_reference(&config.rewards);
    if let Some(prompts) = train {
        if needs.text_metric.is_some() || needs.reference_answer || compares {
            require("this algorithm or its rewards", "training prompts", prompts)?;
        }
        report_useless("training", prompts, config);
    }
    if compares {
        require("the rewards", "prompts held out for evaluation", held_out)?;
    }
    report_useless("held-out", held_out, config);
    Ok(())
}

fn require(who: &str, which: &str, prompts: &[Prompt]) -> Result<()> {
    let mut without = prompts.iter().filter(|prompt| !prompt.has_reference());
    let Some(first) = without.next() else {
        return Ok(());
    };
    bail!(
        "{who} compare with reference answers, and {} of {} {which} have none or an empty one \
         (first: {}); remove those rows, or use another reward",
        1 + without.count(),
        prompts.len(),
        first.origin
    )
}

fn report_useless(which: &str, prompts: &[Prompt], config: &Config) {
    for (kind, n, first) in rewards::useless_references(
        &config.rewards,
        prompts.iter().map(|p| p.reference.as_deref().unwrap_or("")),
    ) {
        run::say!(
            "{which} prompts: {n} of {} have a reference in which {kind} finds nothing to compare, so \
             it is 0 for every response (first: {})",
            prompts.len(),
            prompts[first].origin
        );
    }
}
