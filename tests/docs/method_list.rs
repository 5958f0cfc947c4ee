//! Each method of the registry is in the tables of the docs and has its configs.

use super::{page, root};

#[test]
fn every_method_is_in_the_tables_and_has_its_configs() {
    let names = algorithms::names();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let methods = page("methods/README.md");
    for name in &names {
        let quoted = format!("`{name}`");
        assert!(
            methods.contains(&quoted),
            "{name} is not in docs/methods/README.md"
        );
        assert!(readme.contains(&quoted), "{name} is not in README.md");
        for world in ["tiny", "smollm2-135m"] {
            let config = root().join(format!("configs/{world}/{name}.toml"));
            assert!(config.is_file(), "{} does not exist", config.display());
        }
    }
    let others = format!("any of {} other", names.len() - 2);
    assert!(
        readme.contains(&others),
        "README.md does not say \"{others} methods\""
    );
    assert!(
        page("README.md").contains(&others),
        "docs/README.md does not say \"{others} methods\""
    );
    let all = format!("any of the {} methods", names.len());
    assert!(
        page("guides/rlhf.md").contains(&all),
        "docs/guides/rlhf.md does not say \"{all}\""
    );
}
