//! docs/metrics.md and the methods' pages against the metrics that the stages log.

use super::{page, root};

#[test]
fn every_metric_name_in_the_stages_is_defined() {
    let mut n_names = 0;
    for stage in ["esrl-rlhf", "reward-model", "sft", "train"] {
        for file in std::fs::read_dir(root().join("crates").join(stage).join("src")).unwrap() {
            let file = file.unwrap().path();
            if file.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for name in text
                .split('"')
                .skip(1)
                .step_by(2)
                .filter(|text| is_metric(text))
            {
                assert!(
                    esrl_rlhf::explain(name).is_ok(),
                    "{name} ({}) is not in docs/metrics.md",
                    file.display()
                );
                n_names += 1;
            }
        }
    }
    assert!(n_names > 15, "only {n_names} names of metrics found");
}

/// Whether a text is `group/name` with a group of metrics.
fn is_metric(text: &str) -> bool {
    let groups = "eval esrl loss objective policy rollout throughput time train val watch";
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let parts = text.split_once('/');
    parts.is_some_and(|(group, name)| groups.split(' ').any(|g| g == group) && plain(name))
}

#[test]
fn explain_defines_every_metric() {
    let line = esrl_rlhf::explain("first/policy/clipfrac").unwrap();
    assert!(
        line.starts_with("first/policy/clipfrac: share of tokens"),
        "{line}"
    );
    assert!(
        esrl_rlhf::explain("eval/reward")
            .unwrap()
            .contains("held-out")
    );
    let error = esrl_rlhf::explain("kl").unwrap_err().to_string();
    assert!(error.contains("\"objective/kl\""), "{error}");
    let error = esrl_rlhf::explain("policy/clip_frac")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("did you mean \"policy/clipfrac\""),
        "{error}"
    );
    assert_eq!(error.matches('/').count(), 6, "three names: {error}");
    // A metric of a reward source, by its kind.
    let line = esrl_rlhf::explain("eval/reward_length").unwrap();
    assert!(line.contains("source's own score"), "{line}");
    assert!(esrl_rlhf::explain("reward/").is_err());
    let text = page("metrics.md");
    let names = text.split('`').skip(1).step_by(2);
    let names: Vec<_> = names.filter(|name| is_metric(name)).collect();
    assert!(
        names.len() > 20,
        "only {} metrics in metrics.md",
        names.len()
    );
    for name in names {
        assert!(esrl_rlhf::explain(name).is_ok(), "{name} is not explained");
    }
    for name in algorithms::metric_names() {
        assert!(esrl_rlhf::explain(name).is_ok(), "{name} is not explained");
    }
    for entry in algorithms::registry() {
        let list = esrl_rlhf::list();
        let line = list
            .lines()
            .find(|l| l.split(' ').next() == Some(entry.name))
            .unwrap();
        assert!(
            line.contains(entry.about) && line.contains(entry.paper),
            "{line}"
        );
    }
}
