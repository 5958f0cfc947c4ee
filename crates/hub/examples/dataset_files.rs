//! The files of a data set of the hub, fetched where the cache lacks them:
//! `cargo run -p hub --example dataset_files -- hub:org/name`. Notes go to standard error.

use hub::{DatasetSpec, HubSettings, dataset_files};

fn main() -> hub::Result<()> {
    let hub = HubSettings::from_env()?;
    for text in std::env::args().skip(1) {
        let spec = DatasetSpec::parse(&text);
        let spec = spec.unwrap_or_else(|| Err(hub::Error(format!("{text}: begins with hub:"))))?;
        let found = dataset_files(&spec, &hub)?;
        for note in &found.notes {
            eprintln!("{spec}: {note}");
        }
        for file in &found.files {
            println!("{}", file.display());
        }
    }
    Ok(())
}
